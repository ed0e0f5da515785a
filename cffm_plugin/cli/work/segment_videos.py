"""What `cffm segment-videos` does, with the arguments of ``cffm_plugin.cli.segment_videos``."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from tqdm import tqdm

from ...config import flat_values
from ...engine import launch_job
from ...engine.restartable import claim_folder, weights_digest
from ...inference import dataset_classes
from ...stopping import stops_raised
from ...video.batch import BatchResult, BatchVideo, segment_videos
from ...video.batch_outputs import VideoOutputs
from ...video.jobs import VideoJob, plan_batch
from ...video.opening import open_frames
from ...video.video_demo import VideoDemo, load_segmentor
from .configs import log_to_terminal, read_config

SETTINGS_FILE = "settings.json"
# What of a config has no part in the label maps.
_NOT_OF_THE_LABELS = ("MODEL.WEIGHTS", "MODEL.DEVICE")


def claim(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Write into each folder what its videos are made with, or see that it is the same.

    Raises:
        ValueError: it holds videos of other settings, and the error says which differ.
    """
    settings: dict[str, Any] = {
        "weights_sha256": weights_digest(cfg.MODEL.WEIGHTS) if cfg.MODEL.WEIGHTS else "",
        **{f"MODEL.{key}": value for key, value in flat_values(cfg.MODEL).items()},
        "INPUT.FORMAT": cfg.INPUT.FORMAT,
        **{f"INPUT.CLIP.{key}": value for key, value in flat_values(cfg.INPUT.CLIP).items()},
        "TEST.SMOOTHING": cfg.TEST.SMOOTHING,
        "TEST.AUTOCAST": cfg.TEST.AUTOCAST,
        "raw_colors": args.raw_colors,
    }
    for key in _NOT_OF_THE_LABELS:
        del settings[key]
    painting = {name: getattr(args, name) for name in ("opacity", "legend", "side_by_side")}
    for folder, made_with in ((args.masks, settings), (args.output, settings | painting)):
        if folder:
            path = Path(folder).expanduser()
            claim_folder(path, made_with, file_name=SETTINGS_FILE, results="*")


def open_video(job: VideoJob, demo: VideoDemo, max_megapixels: float, map_colors: bool) -> Any:
    source = open_frames(job.video, max_megapixels, map_colors=map_colors)
    return source, VideoOutputs(job, source, demo)


def segment(args: argparse.Namespace, jobs: list[VideoJob]) -> None:
    """What every process does: its share of the videos."""
    rank, world = comm.get_rank(), comm.get_world_size()
    log_to_terminal()
    cfg = read_config(args.config_file, args.opts)
    if cfg.MODEL.DEVICE == "cpu" and world > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // comm.get_local_size()))
    segmentor = load_segmentor(cfg)
    segmentor.max_streams = max(segmentor.max_streams, args.streams)
    painting = {name: getattr(args, name) for name in ("opacity", "legend", "side_by_side")}
    demo = VideoDemo(segmentor, dataset_classes(cfg), **painting)
    how = (demo, cfg.INPUT.MAX_MEGAPIXELS, not args.raw_colors)
    videos = [
        BatchVideo(job.video, lambda job=job: open_video(job, *how))  # type: ignore[misc]
        for job in jobs[rank::world]
    ]
    with stops_raised(), tqdm(unit="frame", disable=rank > 0, total=_frames_of(jobs, world)) as bar:
        result = segment_videos(
            segmentor, videos, streams=args.streams, ahead=args.ahead, progress=bar.update
        )
    results = comm.all_gather(result)
    if comm.is_main_process():
        tell(results)


def _frames_of(jobs: list[VideoJob], world: int) -> int | None:
    """About how many frames the main process has to do; None where a file does not say."""
    total = 0
    for job in jobs[::world]:
        try:
            source = open_frames(job.video)
        except (ValueError, OSError):
            continue  # it is an error in its turn
        if source.num_frames is None:
            return None
        total += source.num_frames
    return total


def tell(results: list[BatchResult]) -> None:
    """What became of all videos."""
    done = sum(len(result.done) for result in results)
    failed = {name: why for result in results for name, why in result.failed.items()}
    frames, seconds = sum(r.num_frames for r in results), max(r.seconds for r in results)
    rate = f"{frames / seconds:.2f} frames per second" if seconds else "nothing to do"
    print(f"{done} videos, {frames} frames in {seconds:.1f} s, {rate}")
    for name, why in failed.items():
        print(why if why.startswith(name) else f"{name}: {why}", file=sys.stderr)
    if failed:
        print(f"{len(failed)} of the videos failed.", file=sys.stderr)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    cfg = read_config(args.config_file, args.opts)
    if cfg.MODEL.TEMPORAL.ENABLED and cfg.MODEL.TEMPORAL.PROTOTYPES.ENABLED:
        raise ValueError(
            "CFFM++ needs the prototypes of every video: segment videos one by one, by cffm demo "
            "--prototypes, or write MODEL.TEMPORAL.PROTOTYPES.ENABLED False."
        )
    jobs = plan_batch(args.input, args.output, args.masks)
    claim(cfg, args)
    for job in jobs:
        VideoOutputs.remove_leftovers(job)
    todo = [job for job in jobs if not VideoOutputs.are_there(job)]
    if len(todo) < len(jobs):
        print(f"{len(jobs) - len(todo)} of {len(jobs)} videos are there already")
    if not todo:
        return 0
    todo.sort(key=lambda job: (-_bytes_of(Path(job.video)), job.video))  # the longest first
    launch_job(segment, args, todo)
    missing = [job for job in todo if not VideoOutputs.are_there(job)]
    return 1 if missing else 0


def _bytes_of(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
