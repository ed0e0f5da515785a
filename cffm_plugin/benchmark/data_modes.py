"""Reading clips for training, and whole evaluations, measured on a generated dataset."""

import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from torch import nn

from ..config import with_values
from ..data import ClipMapper, read_image, read_mask, register_vspw
from ..engine import CFFMTrainer
from ..job_spec import JobSpec
from ..libraries import OptionalLibrary
from ..synthetic import SYNTHETIC_CLASSES, SyntheticConfig, write_synthetic_vspw

cv2 = OptionalLibrary("cv2", "Benchmarks of data and evaluation")


@contextlib.contextmanager
def generated_dataset(cfg: CfgNode, size: tuple[int, int], frames: int) -> Iterator[CfgNode]:
    """A config for a dataset of two training and three validation videos, written meanwhile."""
    config = SyntheticConfig(
        height=size[0],
        width=size[1],
        frames_per_video=frames,
        num_videos={"train": 2, "val": 3},
        num_classes=JobSpec.from_config(cfg).num_classes,
    )
    with tempfile.TemporaryDirectory() as folder:
        values = {
            "DATASETS.TRAIN": ("benchmark_train",),
            "DATASETS.TEST": ("benchmark_val",),
            "OUTPUT_DIR": f"{folder}/output",
        }
        root = write_synthetic_vspw(f"{folder}/dataset", config)
        for split in config.num_videos:
            classes = SYNTHETIC_CLASSES[: config.num_classes]
            register_vspw(f"benchmark_{split}", root, split, classes=classes)
        try:
            yield with_values(cfg, values)
        finally:
            for split in config.num_videos:
                DatasetCatalog.remove(f"benchmark_{split}")
                MetadataCatalog.remove(f"benchmark_{split}")


def measure_dataloader(cfg: CfgNode, clips: int) -> dict[str, Any]:
    """Clips per second of one worker, and what of a clip's time reading its files takes."""
    records = DatasetCatalog.get(JobSpec.from_config(cfg).train[0])
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
    frames = len(DatasetCatalog.get(JobSpec.from_config(cfg).test[0]))
    seconds: dict[bool, list[float]] = {True: [], False: []}
    scores: dict[bool, Any] = {}
    for streaming in [True, False] * repeats:
        cfg = with_values(cfg, {"TEST.STREAMING": streaming})
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
