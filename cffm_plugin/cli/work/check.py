"""What `cffm check` does, with the arguments of ``cffm_plugin.cli.check``."""

import argparse
import io
import sys
import textwrap
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from ...constants import SPLITS
from ...core.clips import DEFAULT_OFFSETS
from ...data import Dataset, datasets_folder, register_video_folder_from_yaml
from ...doctor import (
    Finding,
    Report,
    Severity,
    check_correction_folder,
    check_dataset,
    write_corrected_masks,
)
from ...files import write_json

SHOWN = 3  # findings of each kind
UNDONE = 2  # an exit code


def run(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    try:
        return check_and_tell(args)
    except (ValueError, OSError) as error:
        if args.debug:
            raise
        print(error, file=sys.stderr)
        return UNDONE


def check_and_tell(args: argparse.Namespace) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may be anything
    if args.machine:
        return print_machine()
    offsets = DEFAULT_OFFSETS if args.offsets is None else args.offsets
    reading = {"jobs": args.jobs, "progress": True}
    root = None if args.dataset else folder_of(args)
    report = check_dataset(named_datasets(args, root), offsets=offsets, root=root, **reading)
    print_report(report)
    if args.json is not None:
        write_json(args.json, report.as_dict())
    if args.fix is not None:
        written, left = write_corrected_masks(
            report, args.fix, max_megapixels=args.max_megapixels, **reading
        )
        print_corrections(report, args.fix, written, left)
    failing = report.count(Severity.ERROR)
    if args.strict:
        failing += report.count(Severity.WARNING)
    return 1 if failing else 0


def folder_of(args: argparse.Namespace) -> Path:
    """The folder in VSPW's layout that is checked."""
    root = (args.dataset_root or datasets_folder() / "vspw" / "VSPW_480p").expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: there is no such folder; see datasets/README.md.")
    if args.fix is not None:
        check_correction_folder(root, args.fix)  # before the long check
    return root


def named_datasets(args: argparse.Namespace, root: Path | None) -> list[Dataset]:
    """The registered ones, or the lists of a folder, under their own names."""
    for file in args.video_folders:
        register_video_folder_from_yaml(file)
    if root is None:
        return [Dataset.registered(name, args.max_megapixels) for name in args.dataset]
    found = []
    for split in args.split or SPLITS:
        dataset = Dataset.in_folder(root, split, args.num_classes, args.max_megapixels)
        classes = tuple(f"class {k}" for k in range(dataset.label_mapping.num_classes))
        found.append(replace(dataset, name=split, class_names=classes))
    return found


def print_report(report: Report) -> None:
    groups: dict[tuple, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        groups[finding.severity, finding.kind, finding.stops].append(finding)
    for (severity, kind, stops), found in groups.items():
        files = sum(len(finding.files) for finding in found)
        what = f": {' and '.join(stops)} stops with an error" if stops else ""
        print(f"\n{severity.value} {kind}{f', {files} file(s)' if files else ''}{what}")
        for finding in found[:SHOWN]:
            more = f" and {len(finding.files) - 1} more" if len(finding.files) > 1 else ""
            fix = " --fix can correct it." if finding.correctable else ""
            where = "".join(finding.files[:1]) or ", ".join(finding.splits)
            if not where.isprintable():  # nothing in a name moves the cursor
                where = ascii(where)
            print(f"  {where}{more}: {finding.detail}{fix}")
        if len(found) > SHOWN:
            print(f"  and {len(found) - SHOWN} more such findings")
    for dataset, shares in report.shares.items():
        if not any(shares.values()):
            continue
        print(f"\n{dataset}: share of all labelled frames' pixels")
        named = (f"{name} {share:.2%}" for name, share in shares.items())
        print(textwrap.fill(", ".join(named), 100, initial_indent="  ", subsequent_indent="  "))
    counts = ", ".join(f"{report.count(severity)} {severity.value}(s)" for severity in Severity)
    print(
        f"\n{report.root}: {counts if report.findings else 'nothing amiss'} in "
        f"{report.num_videos} videos of {', '.join(report.splits)}"
    )
    speed = report.num_images / report.seconds
    print(f"{report.num_images} images in {report.seconds:.1f} s, {speed:.0f} images per second")


def print_machine() -> int:
    """Check the machine, a line for each thing; the exit code."""
    from ...doctor.machine import check_machine  # here: it imports models and readers of video

    wrong = []
    for line in check_machine():
        print(
            f"{'ok   ' if line.is_right else 'WRONG'}  {line.name + ':':<18} {line.text}",
            flush=True,
        )
        if not line.is_right:
            wrong.append(line.name)
    print(f"\n{'Wrong: ' + ', '.join(wrong) if wrong else 'Nothing amiss'}. docs/machines.md")
    return 1 if wrong else 0


def print_corrections(
    report: Report, folder: Path, written: list[str], left: dict[str, str]
) -> None:
    print()
    if left:
        mask, reason = next(iter(left.items()))
        print(f"{len(left)} mask(s) could not be corrected, such as {mask}: {reason}")
    if not written:
        print("There is no mask to correct; nothing was written.")
        return
    print(f"{len(written)} corrected mask(s) in {folder}")
    print("To use them, copy the dataset, lay them over the copy, and check the copy:")
    print(f"  cp -r {report.root} COPY")
    print(f"  cp -r {folder}/. COPY/")
