"""Long runs of streams, training and evaluation, and whether they grow."""

import os
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine.hooks import CallbackHook
from tabulate import tabulate
from torch import Tensor

from cffm_plugin.config import load_config
from cffm_plugin.data import register_vspw
from cffm_plugin.engine import CFFMTrainer
from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.synthetic import SYNTHETIC_CLASSES

from .data_speed import generated_dataset

_SAMPLES = 60  # of a whole run
_NUM_STREAMS = 8
_LONG_VIDEO = "soak_val"
_MEBIBYTE = 2**20


class Sample(NamedTuple):
    """What the processes hold at some time.

    Attributes:
        position: steps or frames so far.
        main, workers: resident bytes of this process, and of all that it started together.
        descriptors: open files of this process.
    """

    position: int
    main: int
    workers: int
    descriptors: int


@dataclass(frozen=True)
class Limits:
    """How much growth is flat.

    Attributes:
        mebibytes: per 1000 steps or frames.
        descriptors: per 1000 steps or frames.
        noise: mebibytes over the whole run that are no growth: what allocators keep varies.
        warmup: share of the run before growth counts.
    """

    mebibytes: float = 1.0
    descriptors: float = 0.5
    noise: float = 8.0
    warmup: float = 0.25


@dataclass(frozen=True)
class Growth:
    """How one thing grew.

    Attributes:
        run, what: which run, and a field of ``Sample``.
        per_1000: growth per 1000 steps or frames; MiB or files.
        first, last: what it was after the warm-up and at the end.
        is_flat: it is within the limits.
    """

    run: str
    what: str
    per_1000: float
    first: float
    last: float
    is_flat: bool


def take_sample(position: int) -> Sample:
    """
    Raises:
        OSError: the system has no /proc; Linux has.
    """
    children = _children(os.getpid())
    workers = sum(filter(None, map(_resident, children)))
    descriptors = len(os.listdir("/proc/self/fd"))
    return Sample(position, _resident(os.getpid()) or 0, workers, descriptors)


def growth(run: str, samples: list[Sample], limits: Limits) -> list[Growth]:
    """How memory and descriptors grew in a run.

    The slope is the median of those between all pairs of samples (Theil and Sen's), which single
    jumps do not move.

    Raises:
        ValueError: there are fewer than three samples after the warm-up.
    """
    end = samples[-1].position if samples else 0
    counted = [sample for sample in samples if sample.position >= limits.warmup * end]
    if len(counted) < 3:
        raise ValueError(f"{run}: {len(counted)} samples after the warm-up, at least 3 are needed")
    rows = []
    for what, unit, limit, noise in (
        ("main", _MEBIBYTE, limits.mebibytes, limits.noise),
        ("workers", _MEBIBYTE, limits.mebibytes, limits.noise),
        ("descriptors", 1, limits.descriptors, 2.0),
    ):
        points = [(sample.position, getattr(sample, what) / unit) for sample in counted]
        slope = 1000 * statistics.median(
            (v - u) / (b - a) for a, u in points for b, v in points if b > a
        )
        steps = points[-1][0] - points[0][0]
        is_flat = slope <= limit or slope * steps / 1000 <= noise
        rows.append(Growth(run, what, slope, points[0][1], points[-1][1], is_flat))
    return rows


def table_of(rows: list[Growth]) -> str:
    """A Markdown table."""
    units = {"main": "MiB", "workers": "MiB", "descriptors": "open files"}
    cells = [
        (
            *(row.run, f"{row.what}, {units[row.what]}", f"{row.first:.1f}", f"{row.last:.1f}"),
            *(f"{row.per_1000:+.3f}", "flat" if row.is_flat else "GROWS"),
        )
        for row in rows
    ]
    header = ("run", "what", "after the warm-up", "at the end", "per 1000", "verdict")
    return tabulate(cells, header, "pipe", disable_numparse=True)


def tiny_config(device: str) -> CfgNode:
    """A CFFM of which a step takes milliseconds."""
    keys: dict[str, Any] = {
        "MODEL.DEVICE": device,
        "MODEL.META_ARCHITECTURE": "CFFMSegmentor",
        "MODEL.BACKBONE.NAME": "build_mit_backbone",
        "MODEL.MIT.NAME": "mit_tiny",
        "MODEL.SEM_SEG_HEAD.NAME": "SegFormerHead",
        "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.SEM_SEG_HEAD.CONVS_DIM": 16,
        "MODEL.SEM_SEG_HEAD.NORM": "BN",
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 4,
        "MODEL.CFFM.DEPTH": 1,
        "MODEL.CFFM.NUM_HEADS": 4,
        "INPUT.FORMAT": "RGB",
        "INPUT.CLIP.FIT_SIZE": (64, 48),
        "INPUT.CLIP.TEST_SIZE_DIVISIBILITY": 16,
        "INPUT.CROP.ENABLED": True,
        "INPUT.CROP.TYPE": "absolute",
        "INPUT.CROP.SIZE": [32, 32],
        "DATALOADER.NUM_WORKERS": 2,
        "SOLVER.IMS_PER_BATCH": 2,
        "SOLVER.OPTIMIZER": "AdamW",
        "SOLVER.BASE_LR": 1e-4,
        "SOLVER.LR_SCHEDULER_NAME": "WarmupPolyLR",
    }
    return load_config("", [str(word) for pair in keys.items() for word in pair])


def soak_streams(cfg: CfgNode, frames: int) -> list[Sample]:
    """Streams of several sizes that come, change their size and go, ``frames`` in all."""
    segmentor = StreamingSegmentor(CFFMTrainer.build_model(cfg))
    rng, record = random.Random(0), _Recorder(frames)
    sizes = [(height, width) for height in (32, 40, 48) for width in range(32, 72, 4)]
    size_of = {key: rng.choice(sizes) for key in range(_NUM_STREAMS)}
    newest = _NUM_STREAMS
    for done in range(0, frames, _NUM_STREAMS):
        segmentor.step_all({key: _noise(size, done) for key, size in size_of.items()})
        for key in list(size_of):
            if rng.random() < 0.03:  # this video ends, and another begins
                segmentor.reset(key)
                del size_of[key]
                size_of[newest] = rng.choice(sizes)
                newest += 1
            elif rng.random() < 0.01:
                size_of[key] = rng.choice(sizes)
        record(done + _NUM_STREAMS)
    return record.samples


def soak_training(cfg: CfgNode, steps: int) -> list[Sample]:
    """Training with worker processes, checkpoints included."""
    record = _Recorder(steps)
    cfg = cfg.clone()
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD = steps, max(1, steps // 4)
    cfg.DATASETS.TEST = ()
    Path(cfg.OUTPUT_DIR).mkdir(parents=True, exist_ok=True)
    trainer = CFFMTrainer(cfg)
    trainer.register_hooks([CallbackHook(after_step=lambda t: record(t.iter + 1))])
    trainer.train()
    return record.samples


def soak_evaluation(cfg: CfgNode, frames: int) -> list[Sample]:
    """The evaluation of one long video."""
    record, seen = _Recorder(frames), [0]
    model = CFFMTrainer.build_model(cfg)

    def count(*_: Any) -> None:
        seen[0] += 1
        record(seen[0])

    model.backbone.register_forward_hook(count)
    with _long_video(cfg, frames):
        cfg = cfg.clone()
        cfg.DATASETS.TEST = (_LONG_VIDEO,)
        CFFMTrainer.test(cfg, model)
    return record.samples


SOAKS: dict[str, Callable[[CfgNode, int], list[Sample]]] = {
    "streams": soak_streams,
    "training": soak_training,
    "evaluation": soak_evaluation,
}


@contextmanager
def soak_config(device: str) -> Iterator[CfgNode]:
    """The tiny config for a dataset that is there meanwhile."""
    with generated_dataset(tiny_config(device), (48, 64), frames=16) as cfg:
        yield cfg


class _Recorder:
    """Takes a sample now and then over a run of a length."""

    def __init__(self, length: int):
        self.samples: list[Sample] = []
        self._interval = max(1, length // _SAMPLES)

    def __call__(self, position: int) -> None:
        due = self.samples[-1].position + self._interval if self.samples else 0
        if position >= due:
            self.samples.append(take_sample(position))


@contextmanager
def _long_video(cfg: CfgNode, frames: int) -> Iterator[None]:
    """Register a video that repeats a short one of the config's; its frames are hard links."""
    short = DatasetCatalog.get(cfg.DATASETS.TEST[0])[:16]
    with tempfile.TemporaryDirectory(dir=Path(short[0]["file_name"]).parents[3]) as folder:
        root = Path(folder)
        for name, key in (("origin", "file_name"), ("mask", "sem_seg_file_name")):
            (root / "data" / "long" / name).mkdir(parents=True)
            for index in range(frames):
                source = Path(short[index % len(short)][key])
                os.link(source, root / "data" / "long" / name / f"{index:08d}{source.suffix}")
        (root / "val.txt").write_text("long\n")
        classes = SYNTHETIC_CLASSES[: cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES]
        register_vspw(_LONG_VIDEO, root, "val", classes=classes)
        try:
            yield
        finally:
            DatasetCatalog.remove(_LONG_VIDEO)
            MetadataCatalog.remove(_LONG_VIDEO)


def _noise(size: tuple[int, int], seed: int) -> Tensor:
    return torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(seed)).float()


def _resident(process: int) -> int | None:
    """Bytes; None where the process has ended."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _children(process: int) -> list[int]:
    """All processes that a process and those of its started."""
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *_children(child)]
    return found
