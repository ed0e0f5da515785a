"""Measures reading clips for training, whole evaluations, and the guards of streams and training.

    python -m lab.data_speed --config-file vspw/cffm_mit_b0 --what dataloader evaluate guards

The first two work on a small generated dataset. Guards: looking whether a frame's prediction is
finite, and what a training step's seed, and its asking whether to leave, take.
"""

import argparse
import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from tabulate import tabulate
from torch import nn

from cffm_plugin.benchmark import Benchmark, config_to_measure, measure
from cffm_plugin.checkpoint import SegmentorCheckpointer
from cffm_plugin.data import ClipMapper, read_image, read_mask, register_vspw
from cffm_plugin.engine import CFFMTrainer
from cffm_plugin.engine.preemption import LeaveWhenAsked, StopSignals
from cffm_plugin.engine.train_loop import seed_step
from cffm_plugin.libraries import OptionalLibrary
from cffm_plugin.modeling import all_finite
from cffm_plugin.stopping import stops_raised
from cffm_plugin.synthetic import SYNTHETIC_CLASSES, SyntheticConfig, write_synthetic_vspw

cv2 = OptionalLibrary("cv2", "Reading clips")

WHAT = ("dataloader", "evaluate", "guards")


@contextlib.contextmanager
def generated_dataset(cfg: CfgNode, size: tuple[int, int], frames: int) -> Iterator[CfgNode]:
    """A config for a dataset of two training and three validation videos, written meanwhile."""
    config = SyntheticConfig(
        height=size[0],
        width=size[1],
        frames_per_video=frames,
        num_videos={"train": 2, "val": 3},
        num_classes=cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
    )
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("benchmark_train",), ("benchmark_val",)
    with tempfile.TemporaryDirectory() as folder:
        cfg.OUTPUT_DIR = f"{folder}/output"
        root = write_synthetic_vspw(f"{folder}/dataset", config)
        for split in config.num_videos:
            classes = SYNTHETIC_CLASSES[: config.num_classes]
            register_vspw(f"benchmark_{split}", root, split, classes=classes)
        try:
            yield cfg
        finally:
            for split in config.num_videos:
                DatasetCatalog.remove(f"benchmark_{split}")
                MetadataCatalog.remove(f"benchmark_{split}")


def measure_dataloader(cfg: CfgNode, clips: int) -> dict[str, Any]:
    """Clips per second of one worker, and what of a clip's time reading its files takes."""
    records = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])
    mapper = ClipMapper(cfg, is_train=True)
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)  # as in a worker
    cv2.setNumThreads(0)
    try:
        frames = len(mapper(records[0])["image"])
        turns = itertools.cycle(records)
        whole = _seconds(lambda: mapper(next(turns)), clips)
        files = records[0]["frames"][:frames]
        limit = mapper.max_megapixels
        images = _seconds(lambda: [read_image(file["file_name"], limit) for file in files], clips)
        masks = _seconds(
            lambda: [read_mask(file["sem_seg_file_name"], limit) for file in files], clips
        )
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    return {
        "clips_per_s_per_worker": 1 / whole,
        "median_s": whole,
        "decoding_images_s": images,
        "decoding_masks_s": masks,
        "augmentation_and_tensors_s": whole - images - masks,
    }


def measure_evaluation(cfg: CfgNode, model: nn.Module, repeats: int) -> dict[str, Any]:
    """Frames per second of the evaluation as streams and as clips, in turn; same scores?"""
    frames = len(DatasetCatalog.get(cfg.DATASETS.TEST[0]))
    seconds: dict[bool, list[float]] = {True: [], False: []}
    scores: dict[bool, Any] = {}
    for streaming in [True, False] * repeats:
        cfg = cfg.clone()
        cfg.TEST.STREAMING = streaming
        start = time.perf_counter()
        scores[streaming] = CFFMTrainer.test(cfg, model)
        seconds[streaming].append(time.perf_counter() - start)
    stream, clips = (statistics.median(seconds[streaming]) for streaming in (True, False))
    return {
        "frames": frames,
        "median_s": stream,
        "streaming_frames_per_s": frames / stream,
        "clips_frames_per_s": frames / clips,
        "same_scores": repr(scores[True]) == repr(scores[False]),  # NaN is not equal to itself
    }


def _seconds(job: Any, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        job()
    return (time.perf_counter() - start) / repeats


def measure_guards(benchmark: Benchmark, repeats: int) -> dict[str, Any]:
    """Seconds of a stream's step and of a training step, and which share of each its guards are."""
    steps = benchmark.steps(["stream", "train"])
    steps |= {"stream_guards": stream_guards(benchmark), "train_guards": train_guards(benchmark)}
    measured = measure(steps, repeats, benchmark.device)
    seconds = {name: m.summary()["median_s"] for name, m in measured.items()}
    shares = {f"{n}_guards/{n}": seconds[f"{n}_guards"] / seconds[n] for n in ("stream", "train")}
    return {f"{name}_s": value for name, value in seconds.items()} | shares


@torch.no_grad()
def stream_guards(benchmark: Benchmark) -> Callable[[], object]:
    model, frame = benchmark.model, benchmark.frames[0]
    encoded = model.encode([frame])
    (coarse,) = model.coarse(model.classify(encoded), encoded, [frame.shape[-2:]])
    return lambda: all_finite(*coarse.parts())


def train_guards(benchmark: Benchmark) -> Callable[[], object]:
    hook = LeaveWhenAsked(StopSignals(), SegmentorCheckpointer(benchmark.model), 1 << 30, 0)
    hook.trainer = SimpleNamespace(iter=0, max_iter=1 << 30)

    def step() -> None:
        hook.before_step()
        seed_step(0, 0)
        hook.after_step()

    return step


def run(args: argparse.Namespace) -> None:
    height, width = args.size
    benchmark = Benchmark(config_to_measure(args.config_file, args.opts), (height, width))
    found = {}
    with generated_dataset(benchmark.cfg, (height, width * 853 // 864), args.frames) as cfg:
        if "dataloader" in args.what:
            found["dataloader"] = measure_dataloader(cfg, clips=max(3, args.repeats))
        if "evaluate" in args.what:
            found["evaluate"] = measure_evaluation(cfg, benchmark.model, args.repeats)
    if "guards" in args.what:
        found["guards"] = measure_guards(benchmark, args.repeats)
    for name, figures in found.items():
        print(f"{name}\n{tabulate(figures.items(), (), 'plain', floatfmt='.6f')}\n", flush=True)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=WHAT)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 864), metavar=("H", "W"))
    parser.add_argument("--frames", type=int, default=20, help="per video, of `evaluate`")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    args = parse_args(argv)
    with stops_raised():
        run(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
