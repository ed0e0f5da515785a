"""Checking datasets, many videos at a time."""

import inspect
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from ..data import IGNORE_LABEL, LabelMapping, load_vspw
from ..data.classes import common_label_mapping
from ..data.clips import DEFAULT_OFFSETS, check_offsets
from ..data.datasets.records import Problem, loader_of, videos_of
from ..data.datasets.vspw import unlisted_videos
from .findings import Finding, Report, Severity
from .video import Video

Loaders = list[tuple[str, Callable[..., list[dict[str, Any]]]]]


def check_dataset(
    names: str | Sequence[str],
    *,
    offsets: Sequence[int] = DEFAULT_OFFSETS,
    jobs: int | None = None,
    progress: bool = False,
) -> Report:
    """Load registered datasets, read every frame and mask, and report what is amiss.

    Nothing is written, and a fault never ends the check. Where a loader can't go on after a fault,
    as those of VSPW's and CamVid's layouts mostly can, its error is what is found. A JPEG whose
    content was changed in the middle can't be told from a whole one: the format has no checksum.

    Args:
        names: a dataset or several. Those with records of videos are trained on, those with records
            of frames are evaluated. Their masks' values mean the same.
        offsets: of a training clip's references, relative to its target.
        jobs: processes, by default as many as there are cores. The findings do not depend on it.
        progress: show a bar.

    Raises:
        ValueError: a name is that of no dataset of videos, or an argument is out of range.
    """
    names = [names] if isinstance(names, str) else names
    loaders = [(name, loader_of(name)) for name in names]
    return _check(loaders, common_label_mapping(names), offsets, jobs, progress)


def check_vspw(
    root: str | PathLike,
    *,
    splits: Sequence[str] = ("train", "val", "test"),
    num_classes: int = 124,
    offsets: Sequence[int] = DEFAULT_OFFSETS,
    jobs: int | None = None,
    progress: bool = False,
) -> Report:
    """As ``check_dataset``, of the lists of a folder in VSPW's layout; see ``load_vspw``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: an argument is out of range.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: there is no such folder; see datasets/README.md.")
    if not 1 <= num_classes < IGNORE_LABEL:
        raise ValueError(f"The number of classes is 1 to {IGNORE_LABEL - 1}, got {num_classes}.")
    loaders: Loaders = [(split, partial(load_vspw, root, split)) for split in splits]
    mapping = LabelMapping.shifted_by_one(num_classes)
    report = _check(loaders, mapping, offsets, jobs, progress, root)
    if any(finding.kind.startswith("list_") for finding in report.findings):
        return report  # nobody knows what the lists would name
    unlisted = [
        Finding(Severity.INFO, "video_unlisted", (f"data/{path.name}",), "no list names it")
        for path in unlisted_videos(root)
    ]
    return replace(report, findings=(*report.findings, *unlisted))


def _check(
    loaders: Loaders,
    mapping: LabelMapping,
    offsets: Sequence[int],
    jobs: int | None,
    progress: bool,
    root: Path | None = None,
) -> Report:
    """``root``: what files are named relative to; by default the folder that holds them all."""
    jobs = (os.cpu_count() or 1) if jobs is None else jobs
    splits = tuple(name for name, _ in loaders)
    if not splits or len(set(splits)) < len(splits):
        raise ValueError(f"Name at least one split or dataset, and none twice; got {splits}.")
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}.")
    check_offsets(offsets)
    start = time.perf_counter()
    findings, videos = _load(loaders)
    unreadable = ("mask_missing", "frame_unreadable")
    known = {file for found in findings if found.kind in unreadable for file in found.files}
    files = {file for video in videos for file in video.files()} - known
    findings += _check_clips([video for video in videos if video.trains], offsets)
    check = partial(Video.check, mapping=mapping, offsets=tuple(offsets), known=known)
    # OpenCV's threads do not survive a fork, so the processes go without.
    with ProcessPoolExecutor(jobs, initializer=cv2.setNumThreads, initargs=(0,)) as pool:
        results = (map if jobs == 1 else pool.map)(check, videos)
        for of_video in tqdm(results, "videos", len(videos), disable=not progress):
            findings += of_video
    if root is None:
        root = Path(os.path.commonpath([Path(file).absolute().parent for file in files or "."]))
    findings = [
        replace(found, files=tuple(os.path.relpath(file, root) for file in found.files))
        for found in findings
    ]
    severities = list(Severity)
    return Report(
        root=str(root),
        splits=splits,
        label_mapping=mapping,
        offsets=tuple(offsets),
        num_videos=len(videos),
        num_images=len(files),
        seconds=time.perf_counter() - start,
        findings=tuple(
            sorted(findings, key=lambda f: (severities.index(f.severity), f.kind, f.files))
        ),
    )


def _load(loaders: Loaders) -> tuple[list[Finding], list[Video]]:
    """The videos of all datasets, and what is amiss with lists, folders and names of files."""
    problems: dict[tuple, tuple[Problem, list[str]]] = {}  # what several datasets have is one
    videos: dict[str, Video] = {}  # by their first frame
    for name, load in loaders:
        noted: list[Problem] = []
        goes_on = "note" in inspect.signature(load).parameters
        try:
            records = load(note=noted.append) if goes_on else load()
        except (OSError, ValueError) as error:
            records = []
            noted.append(Problem("loading_failed", (), error))
        for problem in noted:
            problems.setdefault((problem.kind, problem.files), (problem, []))[1].append(name)
        for record in videos_of(name, records):
            frames = record["frames"]
            video = videos.setdefault(frames[0]["file_name"], Video(record["video_id"], frames))
            video.splits.append(name)
            video.trains |= "frames" in records[0]
            video.evaluates |= "frames" not in records[0]
    for first, video in videos.items():
        if video.evaluates and len(video.splits) > 1:
            scored = "after training on it" if video.trains else "in each of them"
            detail = f"{video.video_id} is in {', '.join(video.splits)}, and scored {scored}."
            video.add("video_in_two_datasets", [first], detail)
    return [_of_loader(problem, splits) for problem, splits in problems.values()], [
        *videos.values()
    ]


def _of_loader(problem: Problem, splits: list[str]) -> Finding:
    severity, stops = (Severity.ERROR, ("loading",)) if problem.stops else (Severity.WARNING, ())
    files = tuple(map(str, problem.files))
    return Finding(
        severity, problem.kind, files, str(problem.error), stops, tuple(splits), problem.video
    )


def _check_clips(training: list[Video], offsets: Sequence[int]) -> list[Finding]:
    """Whether some training video has a clip, if there is any."""
    if not training or any(video.drawn(offsets) for video in training):
        return []
    detail = (
        f"No training video has a clip. The longest has {max(len(v.frames) for v in training)} "
        f"frames; frame offsets {tuple(offsets)} take {1 - min(offsets, default=0)}."
    )
    splits = dict.fromkeys(split for video in training for split in video.splits)
    return [Finding(Severity.ERROR, "no_clip", (), detail, ("training",), tuple(splits))]
