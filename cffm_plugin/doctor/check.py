"""Checking datasets, many videos at a time."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..core.clips import DEFAULT_OFFSETS, check_offsets
from ..data import Dataset, build_clip_train_loader
from ..data.classes import the_same_mapping
from ..data.datasets.records import Problem, root_of, videos_of
from ..data.label_findings import accidental_values, class_shares, label_findings
from ..data.mask_origins import Storage, objects_finding, storage_finding
from .findings import Finding, Report, Severity
from .video import Checked, Video

_HARMLESS = ("video_unlisted", "mask_unmatched")  # problems that are good to know


def check_dataset(
    datasets: Sequence[Dataset],
    *,
    offsets: Sequence[int] = DEFAULT_OFFSETS,
    root: str | PathLike | None = None,
    jobs: int | None = None,
    progress: bool = False,
) -> Report:
    """Load datasets, read every frame and mask, and report what is amiss.

    Nothing is written, and a fault never ends the check. Where a loader can't go on after a fault,
    as those of VSPW's and CamVid's layouts mostly can, its error is what is found. A JPEG whose
    content was changed in the middle can't be told from a whole one: the format has no checksum.

    Args:
        datasets: one or several. Those with records of videos are trained on, those with records
            of frames are evaluated. Their masks' values mean the same.
        offsets: of a training clip's references, relative to its target.
        root: what files are named relative to; by default the folder that holds them all.
        jobs: processes, by default as many as there are cores. The findings do not depend on it.
        progress: show a bar.

    Raises:
        ValueError: a dataset is none of videos, two have one name or other classes, or an argument
            is out of range.
    """
    names = tuple(dataset.name for dataset in datasets)
    _check_arguments(names, offsets, jobs)
    start = time.perf_counter()
    findings, videos = _load(datasets)
    findings += _training_without_clip(videos, offsets)
    unreadable = ("mask_missing", "frame_unreadable")
    known = {file for found in findings if found.kind in unreadable for file in found.files}
    files = {file for video in videos for file in video.files()} - known
    mapping = the_same_mapping({dataset.name: dataset.label_mapping for dataset in datasets})
    check = partial(Video.check, mapping=mapping, offsets=tuple(offsets), known=known)
    # OpenCV's threads do not survive a fork, so the processes go without.
    with ProcessPoolExecutor(jobs, initializer=cv2.setNumThreads, initargs=(0,)) as pool:
        checked = (map if jobs == 1 else pool.map)(check, videos)
        results = list(tqdm(checked, "videos", len(videos), disable=not progress))
    accidental = accidental_values(_histogram(results), mapping)
    findings += [_with_correction(f, accidental) for checked in results for f in checked.findings]
    shares = {}
    for dataset in datasets:
        odd, shares[dataset.name] = _label_findings(dataset, list(zip(videos, results)))
        findings += odd
    root = _root_of(names, files) if root is None else root
    return Report(
        root=str(root),
        splits=names,
        label_mapping=mapping,
        offsets=tuple(offsets),
        num_videos=len(videos),
        num_images=len(files),
        seconds=time.perf_counter() - start,
        findings=_worst_first(findings, root),
        accidental=tuple(accidental),
        shares=shares,
    )


def _check_arguments(names: Sequence[str], offsets: Sequence[int], jobs: int | None) -> None:
    if not names or len(set(names)) < len(names):
        raise ValueError(f"Name at least one dataset, and none twice; got {names}.")
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}.")
    check_offsets(offsets)


def _with_correction(finding: Finding, accidental: Sequence[int]) -> Finding:
    """Foreign values can be corrected where they are of no class for certain."""
    if finding.kind != "mask_foreign_values":
        return finding
    return replace(finding, correctable=bool(accidental))


def _worst_first(findings: Sequence[Finding], root: str | PathLike) -> tuple[Finding, ...]:
    """Sorted, with files relative to the root."""
    relative = [
        replace(f, files=tuple(os.path.relpath(file, root) for file in f.files)) for f in findings
    ]
    order = list(Severity)
    return tuple(sorted(relative, key=lambda f: (order.index(f.severity), f.kind, f.files)))


def _training_without_clip(videos: Sequence[Video], offsets: Sequence[int]) -> list[Finding]:
    """What the training loader says where no video has a clip."""
    training = [video.record for video in videos if video.trains]
    if not training:
        return []
    try:
        build_clip_train_loader(
            training, mapper=dict, total_batch_size=1, seed=0, frame_offsets=offsets
        )
    except ValueError as error:
        return [Finding("no_clip", (), str(error), ("training",))]
    return []


def _histogram(results: Sequence[Checked]) -> np.ndarray:
    """(256,): pixels of each value in the masks of all videos."""
    return sum((checked.histogram for checked in results), np.zeros(256, np.int64))


def _label_findings(
    dataset: Dataset, results: Sequence[tuple[Video, Checked]]
) -> tuple[list[Finding], dict[str, float]]:
    """What is odd about the values in all masks of a dataset; and class -> share of the pixels."""
    name, mapping, classes = dataset.name, dataset.label_mapping, dataset.class_names
    checked = [of_video for video, of_video in results if name in video.datasets]
    histogram = _histogram(checked)
    values = [np.flatnonzero(of_video.histogram).tolist() for of_video in checked]
    by_storage: dict[Storage, list[str]] = {}
    for of_video in checked:
        for storage, files in of_video.storages.items():
            by_storage.setdefault(storage, []).extend(files)
    found = [
        *label_findings(histogram, mapping, classes),
        *objects_finding(values, mapping),
        *storage_finding(by_storage),
    ]
    findings = [
        Finding(f.kind, (), f.message, severity=Severity(f.level), splits=(name,))
        for f in found
        if f.kind != "labels_foreign"  # mask_foreign_values names these, with their files
    ]
    return findings, class_shares(histogram, mapping, classes)


def _root_of(names: Sequence[str], files: set[str]) -> str:
    """The folder that holds all files; where there are none, that of the datasets."""
    folders = [Path(file).absolute().parent for file in files]
    if not folders:
        folders = [root_of(name) for name in names]
    return os.path.commonpath(folders)


def _load(datasets: Sequence[Dataset]) -> tuple[list[Finding], list[Video]]:
    """The videos of all datasets, and what is amiss with lists, folders and names of files."""
    # Kind and message, since what several datasets have is one -> it, and who has it.
    problems: dict[tuple[str, str], tuple[Problem, list[str]]] = {}
    videos: dict[str, Video] = {}  # by their first frame
    for dataset in datasets:
        name = dataset.name
        records, noted = dataset.load_noting()
        for problem in noted:
            problems.setdefault((problem.kind, str(problem.error)), (problem, []))[1].append(name)
        for record in videos_of(name, records):
            video = Video(record, max_megapixels=dataset.max_megapixels)
            video = videos.setdefault(record["frames"][0]["file_name"], video)
            video.datasets.append(name)
            video.trains |= "frames" in records[0]
            video.evaluates |= "frames" not in records[0]
    if any(kind.startswith("list_") for kind, _ in problems):  # nobody knows what it would name
        problems = {key: found for key, found in problems.items() if key[0] != "video_unlisted"}
    findings = [
        Finding(
            problem.kind,
            tuple(map(str, problem.files)),
            str(problem.error),
            stops=("loading",) * problem.stops,
            severity=Severity.INFO if problem.kind in _HARMLESS else Severity.WARNING,
            splits=tuple(having),
            video=problem.video,
        )
        for problem, having in problems.values()
    ]
    for first, video in videos.items():
        if video.evaluates and len(video.datasets) > 1:
            scored = "after training on it" if video.trains else "in each of them"
            detail = f"it is in {', '.join(video.datasets)}, and scored {scored}."
            video.add("video_in_two_datasets", [first], detail)
    return findings, list(videos.values())
