"""Checking a whole dataset, many videos at a time."""

import os
import time
from collections.abc import Sequence
from functools import partial
from os import PathLike
from pathlib import Path

from tqdm import tqdm

from ..data.clips import DEFAULT_OFFSETS, check_offsets
from ..data.images import IGNORE_LABEL, LabelMapping
from .findings import Finding, Kind, Report, Severity
from .lists import check_clips, check_lists
from .parallel import map_in_processes
from .video import check_video


def check_dataset(
    root: str | PathLike,
    *,
    splits: Sequence[str] = ("train", "val", "test"),
    num_classes: int = 124,
    jobs: int | None = None,
    offsets: Sequence[int] = DEFAULT_OFFSETS,
    progress: bool = False,
) -> Report:
    """Read all of a dataset in VSPW's layout and report what is amiss. Nothing is written.

    Every frame and mask of the listed videos is decoded; a fault never ends the check. A JPEG whose
    content was changed in the middle can't be told from a whole one: the format has no checksum.

    Args:
        root: the folder with ``<split>.txt`` and ``data``; ``~`` is expanded.
        splits: names of the lists without ``.txt``. "train" is trained on, others are evaluated.
        num_classes: K; class k is k + 1 in the masks, 0 and 255 are void, other values are foreign.
        jobs: processes, by default as many as there are cores. The findings do not depend on it.
        offsets: of a training clip's references, relative to its target.
        progress: show a bar.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a number is out of range, or ``splits`` or ``offsets`` are not what they should.
    """
    root = Path(root).expanduser()
    splits, offsets = tuple(splits), tuple(offsets)
    jobs = (os.cpu_count() or 1) if jobs is None else jobs
    _check_arguments(root, splits, num_classes, jobs, offsets)
    mapping = LabelMapping.shifted_by_one(num_classes)
    start = time.perf_counter()
    videos, findings = check_lists(root, splits)
    lengths: dict[str, int] = {}
    num_images = 0
    check = partial(check_video, root, mapping, offsets)
    results = map_in_processes(check, list(videos.items()), jobs)
    with tqdm(total=len(videos), desc="videos", unit="video", disable=not progress) as bar:
        for video_id, result in zip(videos, results):
            findings += result.findings
            lengths[video_id] = result.num_frames
            num_images += result.num_images
            bar.set_postfix_str(f"{num_images} images", refresh=False)
            bar.update()
    findings += check_clips(lengths, videos, offsets)
    return Report(
        root=str(root),
        splits=splits,
        num_classes=num_classes,
        offsets=offsets,
        num_videos=len(videos),
        num_images=num_images,
        seconds=time.perf_counter() - start,
        findings=tuple(sorted(findings, key=_worst_first)),
    )


def _check_arguments(
    root: Path, splits: tuple[str, ...], num_classes: int, jobs: int, offsets: tuple[int, ...]
) -> None:
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: there is no such folder. datasets/README.md shows what a dataset in VSPW's "
            "layout looks like."
        )
    if not splits or len(set(splits)) < len(splits):
        raise ValueError(f"Name at least one split, and none twice; got {splits}.")
    if not 1 <= num_classes < IGNORE_LABEL:
        raise ValueError(f"The number of classes is 1 to {IGNORE_LABEL - 1}, got {num_classes}.")
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}.")
    check_offsets(offsets)


def _worst_first(finding: Finding) -> tuple[int, int, tuple[str, ...], str]:
    severity = list(Severity).index(finding.severity)
    return severity, list(Kind).index(finding.kind), finding.files, finding.detail
