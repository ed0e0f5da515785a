"""Writes the frames of videos as pictures: upright, in the colours that are shown.

    cffm frames walk.mp4 --output mine/walk/frames
    cffm frames videos/ --output mine --format png

Every frame is written once, in the order in which it is shown, under its index, which counts from
0: the name that cffm demo, predict and segment-videos give to its label map. times.csv beside them
holds each frame's time in seconds. Several videos, or a folder of them, become a folder each. A
folder of frames is there whole or not at all; of a damaged video it has what came.

Exit codes: 0 done; 1 an error, or of several videos one failed; 2 a video was incomplete, or the
arguments are wrong; 130 Ctrl-C; 143 SIGTERM; 138 SIGUSR1.
"""

import argparse
import csv
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from ..errors import errors_as_messages
from ..stopping import stops_raised
from ..video.decoding import IncompleteVideoError
from ..video.jobs import VideoJob, plan_jobs
from ..video.reading import FrameSource, NetworkStream, VideoFile
from .demo import INCOMPLETE, INTERRUPTED, add_raw_colors

TIMES_FILE = "times.csv"
# Colours at full resolution: segmentation is about edges.
_OPTIONS: dict[str, dict[str, Any]] = {"jpg": {"subsampling": 0}, "png": {"compress_level": 3}}


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "videos", nargs="+", metavar="VIDEO", help="files, addresses, and folders of videos"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--format", choices=tuple(_OPTIONS), default="jpg", help="of the pictures (%(default)s)"
    )
    parser.add_argument(
        "--quality", type=int, default=95, metavar="1..100", help="of JPEG (%(default)s)"
    )
    add_raw_colors(parser)
    args = parser.parse_args(argv)
    if not 1 <= args.quality <= 100:
        parser.error(f"--quality {args.quality} is not in 1..100")
    return args


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
    options = {"quality": quality} | _OPTIONS[kind]
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
    map_colors = not args.raw_colors
    source: FrameSource
    if NetworkStream.is_url(job.video):
        source = NetworkStream(job.video, map_colors=map_colors)
    else:
        source = VideoFile(job.video, map_colors=map_colors)
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    args = parse_args(argv)
    try:
        with errors_as_messages(), stops_raised():
            return run(args)
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
