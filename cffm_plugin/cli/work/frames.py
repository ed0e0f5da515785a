"""What `cffm frames` does, with the arguments of ``cffm_plugin.cli.frames``."""

import argparse
import csv
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from ...video.decoding import IncompleteVideoError
from ...video.jobs import VideoJob, plan_jobs
from ...video.opening import open_video
from ...video.reading import FrameSource
from ..frames import PICTURE_OPTIONS
from .demo import INCOMPLETE

TIMES_FILE = "times.csv"


def write_frames(source: FrameSource, folder: Path, kind: str, quality: int) -> int:
    """Write a video's frames into a new folder.

    Args:
        folder: is not there yet, or empty.
        kind: a suffix, "jpg" or "png".
        quality: of JPEG, 1..100.

    Returns:
        how many there were.

    Raises:
        ValueError: the folder holds something, or the video can't be read.
        OSError: it can't be written.
        IncompleteVideoError: what came of the video is in the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there and not empty: name another folder, or remove it.")
    hidden = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    hidden.mkdir(parents=True)
    count, incomplete = 0, None
    options = {"quality": quality} | PICTURE_OPTIONS[kind]
    try:
        with open(hidden / TIMES_FILE, "w", newline="", encoding="utf-8") as file:
            times = csv.writer(file)
            times.writerow(("frame", "seconds"))
            try:
                for frame in tqdm(source, total=source.num_frames, unit="frame"):
                    picture = Image.fromarray(frame.image[..., ::-1])
                    path = hidden / f"{frame.name}.{kind}"
                    picture.save(path, **options)
                    times.writerow((frame.name, f"{frame.seconds:.6f}"))
                    count += 1
            except IncompleteVideoError as error:
                incomplete = error
        if count:
            os.replace(hidden, folder)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    if incomplete is not None:
        raise incomplete
    return count


def folder_of(job: VideoJob) -> Path:
    assert job.masks is not None
    return Path(job.masks).expanduser()


def write_job(args: argparse.Namespace, job: VideoJob) -> None:
    folder = folder_of(job)
    source = open_video(job.video, map_colors=not args.raw_colors)
    count = write_frames(source, folder, args.format, args.quality)
    print(f"Done: {count} frames and {TIMES_FILE} in {folder}", file=sys.stderr)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    jobs = plan_jobs(args.videos, None, args.output)
    code = 0
    for job in jobs:
        try:
            write_job(args, job)
        except IncompleteVideoError as error:
            came = (folder_of(job) / TIMES_FILE).exists()
            there = f"What came is in {job.masks}." if came else "Nothing was written."
            print(f"{error} {there}", file=sys.stderr)
            code = code or INCOMPLETE
        except (ValueError, OSError) as error:
            if len(jobs) == 1:
                raise
            print(error, file=sys.stderr)
            code = 1
    return code
