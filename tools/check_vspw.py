#!/usr/bin/env python3
"""Checks a dataset in VSPW's layout: reads every file and says what is amiss.

    python tools/check_vspw.py --root DIR
    python tools/check_vspw.py --root DIR --splits train val --num-classes 10 --json report.json
    python tools/check_vspw.py --root DIR --fix CORRECTED

For every fault it says what training and evaluation will do about it, and what to do. The dataset
is never written to; --fix writes corrected copies of masks into another folder.

Exit status: 0 if there is no error (with --strict: nor a warning), 1 if there is one, 2 if the
check or the correction could not be done as asked.
"""

import argparse
import io
import json
import os
import sys
from pathlib import Path

from cffm_plugin.data import datasets_folder
from cffm_plugin.data.clips import DEFAULT_OFFSETS
from cffm_plugin.doctor import (
    Corrections,
    Report,
    Severity,
    check_correction_folder,
    check_dataset,
    counted,
    details,
    summary_table,
    write_corrected_masks,
)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=datasets_folder() / "vspw" / "VSPW_480p",
        help="the dataset's folder (%(default)s)",
    )
    parser.add_argument(
        "--splits", nargs="+", default=["train", "val", "test"], help="lists to check (%(default)s)"
    )
    parser.add_argument("--num-classes", type=int, default=124, help="(%(default)s)")
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
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the whole report")
    parser.add_argument(
        "--fix", type=Path, metavar="DIR", help="write corrected copies of masks into this folder"
    )
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    return parser


def main() -> int:
    arguments = parser()
    args = arguments.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may be anything
    try:
        if args.fix is not None:
            check_correction_folder(args.root, args.fix)  # before the long check
        report = check_dataset(
            args.root,
            splits=args.splits,
            num_classes=args.num_classes,
            jobs=args.jobs,
            offsets=args.offsets,
            progress=True,
        )
        print_report(report)
        if args.json is not None:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(report.as_dict(), indent=1, allow_nan=False) + "\n")
        if args.fix is not None:
            corrections = write_corrected_masks(report, args.fix, jobs=args.jobs, progress=True)
            print_corrections(report, corrections)
    except (ValueError, OSError) as error:
        arguments.error(str(error))
    failing = report.count(Severity.ERROR)
    if args.strict:
        failing += report.count(Severity.WARNING)
    return 1 if failing else 0


def print_report(report: Report) -> None:
    if report.findings:
        print(f"\n{summary_table(report)}\n\n{details(report)}")
    counts = ", ".join(counted(report.count(severity), severity.value) for severity in Severity)
    print(
        f"\n{report.root}: {counts if report.findings else 'nothing amiss'} in "
        f"{counted(report.num_videos, 'video')} of {', '.join(report.splits)}"
    )
    print(
        f"{counted(report.num_images, 'image')} in {report.seconds:.1f} s, "
        f"{report.images_per_second:.0f} images per second"
    )


def print_corrections(report: Report, corrections: Corrections) -> None:
    print()
    if corrections.left:
        mask, reason = next(iter(corrections.left.items()))
        masks = counted(len(corrections.left), "mask")
        print(f"{masks} could not be corrected, such as {mask}: {reason}")
    if not corrections.written:
        print("There is no mask to correct; nothing was written.")
        return
    print(f"{counted(len(corrections.written), 'corrected mask')} in {corrections.folder}")
    print("To use them, copy the dataset, lay them over the copy, and check the copy:")
    print(f"  cp -r {report.root} COPY")
    print(f"  cp -r {corrections.folder}/data COPY/")


if __name__ == "__main__":
    sys.exit(main())
