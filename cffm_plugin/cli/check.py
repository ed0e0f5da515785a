"""Checks datasets: reads every frame and mask and says what is amiss. Or this machine.

    cffm check --root DIR                  # a folder in VSPW's layout
    cffm check --root DIR --splits train val --num-classes 10 --json report.json
    cffm check --root DIR --fix CORRECTED
    cffm check --dataset camvid_train camvid_val
    cffm check --video-folders mine.yaml --dataset mine_train
    cffm check --machine                   # half precision, ports, video, a training step

For every fault it says what it stops, loading, training or evaluation, and what to do. The dataset
is never written to; --fix writes corrected copies of masks into another folder.

Exit status: 0 if there is no error (with --strict: nor a warning), 1 if there is one, 2 if the
check or the correction could not be done as asked. With --machine: 1 if any of its lines is wrong.
"""

import argparse
import io
import json
import os
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..data import (
    DEFAULT_MAX_MEGAPIXELS,
    datasets_folder,
    register_video_folder_from_yaml,
    register_vspw,
)
from ..data.clips import DEFAULT_OFFSETS
from ..doctor import (
    Finding,
    Report,
    Severity,
    check_correction_folder,
    check_dataset,
    write_corrected_masks,
)
from ..files import write_text

SHOWN = 3  # findings of each kind


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root",
        type=Path,
        help="a folder in VSPW's layout ($DETECTRON2_DATASETS/vspw/VSPW_480p)",
    )
    parser.add_argument("--splits", nargs="+", help="its lists to check (train val test)")
    parser.add_argument("--num-classes", type=int, help="its number of classes, 1 to 254 (124)")
    parser.add_argument(
        "--dataset", nargs="+", metavar="NAME", help="check registered datasets, not a folder"
    )
    parser.add_argument(
        "--video-folders",
        nargs="+",
        default=[],
        metavar="YAML",
        help="register the datasets of these files first, see datasets/README.md",
    )
    parser.add_argument(
        "--offsets",
        type=int,
        nargs="*",
        default=DEFAULT_OFFSETS,
        help="MODEL.TEMPORAL.FRAME_OFFSETS of the training (%(default)s)",
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)"
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=DEFAULT_MAX_MEGAPIXELS,
        help="INPUT.MAX_MEGAPIXELS of the training: larger images are errors (%(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the whole report")
    parser.add_argument(
        "--fix", type=Path, metavar="DIR", help="write corrected copies of masks into this folder"
    )
    parser.add_argument(
        "--machine",
        action="store_true",
        help="check no dataset but this machine, in seconds; see docs/machines.md",
    )
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    arguments = parser()
    args = arguments.parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may be anything
    if args.machine:
        return print_machine()
    of_folder = (args.root, args.splits, args.num_classes)
    if args.dataset and of_folder != (None, None, None):
        arguments.error("--dataset takes no --root, --splits or --num-classes: registration did.")
    if args.video_folders and not args.dataset:
        arguments.error("--video-folders registers datasets; name those to check with --dataset.")
    reading = {"jobs": args.jobs, "max_megapixels": args.max_megapixels, "progress": True}
    options = {"offsets": args.offsets, **reading}
    try:
        if args.dataset:
            for file in args.video_folders:
                register_video_folder_from_yaml(file)
            report = check_dataset(args.dataset, **options)
        else:
            root = (args.root or datasets_folder() / "vspw" / "VSPW_480p").expanduser()
            if args.fix is not None:
                check_correction_folder(root, args.fix)  # before the long check
            splits = args.splits or ["train", "val", "test"]
            num_classes = 124 if args.num_classes is None else args.num_classes
            with registered(root, splits, num_classes):
                report = check_dataset(splits, root=root, **options)
        print_report(report)
        if args.json is not None:
            text = json.dumps(report.as_dict(), indent=1, allow_nan=False)
            write_text(args.json, text + "\n")
        if args.fix is not None:
            written, left = write_corrected_masks(report, args.fix, **reading)
            print_corrections(report, args.fix, written, left)
    except (ValueError, OSError) as error:
        arguments.error(str(error))
    failing = report.count(Severity.ERROR)
    if args.strict:
        failing += report.count(Severity.WARNING)
    return 1 if failing else 0


@contextmanager
def registered(root: Path, splits: Sequence[str], num_classes: int) -> Iterator[None]:
    """The lists of a folder in VSPW's layout are registered under their own names meanwhile."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: there is no such folder; see datasets/README.md.")
    if not 1 <= num_classes < 255:
        raise ValueError(f"The number of classes is 1 to 254, got {num_classes}.")
    names = dict.fromkeys(splits)
    for split in names:
        register_vspw(split, root, split, classes=[f"class {k}" for k in range(num_classes)])
    try:
        yield
    finally:
        for split in names:
            DatasetCatalog.remove(split)
            MetadataCatalog.remove(split)


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
    from ..doctor.machine import check_machine  # here: it imports models and readers of video

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


if __name__ == "__main__":
    sys.exit(main())
