"""Data loaders that know videos.

Training: every visit to a video has a number, and everything random in it (which video, which clip,
every augmentation) is a function of the seed and that number alone. So a run is the same for any
number of worker processes, and a resumed run goes on where it stopped.
"""

import contextlib
import itertools
import logging
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetCatalog, DatasetFromList, MapDataset
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from ..core.clips import DEFAULT_OFFSETS, training_targets
from ..errors import some
from ..libraries import import_library
from .clip_records import Record, draw_training_clip, labelled_frames, with_references
from .label_sanity import check_training_labels
from .mapper import ClipMapper
from .registered_datasets import check_registered
from .samplers import VideoInferenceSampler, VideoTrainingSampler

Mapper = Callable[[Record], Record]

_SECONDS_TO_LIVE = 30  # of a worker after SIGTERM, where its training does not end it before

logger = logging.getLogger(__name__)


def _train_loader_from_config(cfg: CfgNode, mapper: Mapper | None = None) -> dict[str, Any]:
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty: name at least one registered dataset.")
    check_registered(cfg.DATASETS.TRAIN, "DATASETS.TRAIN")
    records = [DatasetCatalog.get(name) for name in cfg.DATASETS.TRAIN]
    mapper = mapper or ClipMapper(cfg, is_train=True)
    label_mapping = getattr(mapper, "label_mapping", None)  # other mappers may have none
    if label_mapping is not None:
        named = dict(zip(cfg.DATASETS.TRAIN, records))
        check_training_labels(named, label_mapping, cfg.INPUT.MAX_MEGAPIXELS)
    return {
        "records": [record for dataset_records in records for record in dataset_records],
        "mapper": mapper,
        "total_batch_size": cfg.SOLVER.IMS_PER_BATCH,
        "frame_offsets": cfg.MODEL.TEMPORAL.FRAME_OFFSETS,
        "reverse_prob": cfg.INPUT.CLIP.REVERSE_PROB,
        "uniform_over": cfg.DATALOADER.UNIFORM_OVER,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
        "seed": cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed(),
    }


@configurable(from_config=_train_loader_from_config)
def build_clip_train_loader(
    records: Sequence[Record],
    *,
    mapper: Mapper,
    total_batch_size: int,
    seed: int,
    frame_offsets: Sequence[int] = DEFAULT_OFFSETS,
    reverse_prob: float = 0.5,
    uniform_over: str = "videos",
    num_workers: int = 0,
    start_iter: int = 0,
) -> DataLoader:
    """An endless loader of training clips: lists of ``total_batch_size // world_size`` dicts.

    Also ``build_clip_train_loader(cfg, mapper=None, *, start_iter=0)``: the datasets of
    DATASETS.TRAIN, one after another, through a ``ClipMapper``. It looks at a sample of their masks
    first: ``check_training_labels``.

    Args:
        records: one per video. Those without a clip, because they are too short or no labelled
            frame has all its references, are left out, and named in the log.
        mapper: from a clip, see ``draw_training_clip``, to what the model takes.
        total_batch_size: clips per iteration over all processes.
        frame_offsets: references relative to the target.
        seed: what all randomness is a function of. The same in all processes.
        reverse_prob: probability that a clip is drawn from the video reversed in time.
        uniform_over: "videos": a pass visits every video once, however long (as for VSPW);
            "targets": as often as it has targets, labelled frames with all their references, so
            that every target is as likely. Where the two directions of time differ in their
            number, the larger counts.
        num_workers: worker processes; the clips do not depend on it.
        start_iter: the iteration to begin at, for a resumed run.

    Raises:
        ValueError: the batch does not divide over the processes, a record is not that of a
            training video, or no video has a clip.
    """
    rank, world_size = comm.get_rank(), comm.get_world_size()
    _check_batch_size(total_batch_size, world_size)
    if uniform_over not in ("videos", "targets"):
        raise ValueError(
            f'uniform_over (DATALOADER.UNIFORM_OVER): "videos" or "targets", got "{uniform_over}".'
        )
    num_targets = [_num_targets(record, frame_offsets, reverse_prob) for record in records]
    _report_videos_without_clip(records, num_targets, frame_offsets)
    usable = [record for record, targets in zip(records, num_targets) if targets]
    sampler = VideoTrainingSampler(
        [1 if uniform_over == "videos" else targets for targets in num_targets if targets],
        seed,
        rank,
        world_size,
        start=start_iter * total_batch_size,
    )
    return DataLoader(
        _VideoVisits(DatasetFromList(usable, copy=False), mapper, frame_offsets, reverse_prob),
        batch_size=total_batch_size // world_size,
        sampler=sampler,
        **_worker_arguments(num_workers),
        persistent_workers=num_workers > 0,
    )


def _test_loader_from_config(
    cfg: CfgNode, dataset_name: str, mapper: Mapper | None = None
) -> dict[str, Any]:
    return {
        "records": DatasetCatalog.get(dataset_name),
        "mapper": mapper or ClipMapper(cfg, is_train=False),
        "frame_offsets": cfg.MODEL.TEMPORAL.FRAME_OFFSETS if cfg.MODEL.TEMPORAL.ENABLED else (),
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
    }


@configurable(from_config=_test_loader_from_config)
def build_clip_test_loader(
    records: Sequence[Record],
    *,
    mapper: Mapper,
    frame_offsets: Sequence[int] = DEFAULT_OFFSETS,
    num_workers: int = 0,
) -> DataLoader:
    """A loader of this process's test frames, one by one: lists of one dict.

    A video's frames all go to one process, in order. A process may get no frame.
    Also ``build_clip_test_loader(cfg, dataset_name, mapper=None)``.

    Args:
        records: one per frame, a video's frames in order.
        mapper: from such a record, with ``reference_file_names``, to what the model takes.
        frame_offsets: references relative to the target. (): the target alone.
        num_workers: worker processes.

    Raises:
        ValueError: there are no records, or a video's frames are not together and in order.
    """
    videos = _group_by_video(records)
    dataset = [frame for video in videos for frame in with_references(video, frame_offsets)]
    sampler = VideoInferenceSampler(
        [len(video) for video in videos], comm.get_rank(), comm.get_world_size()
    )
    return DataLoader(
        MapDataset(DatasetFromList(dataset, copy=False), mapper),
        batch_size=1,
        sampler=sampler,
        **_worker_arguments(num_workers),
    )


@dataclass
class _VideoVisits(Dataset):
    """Draws a clip of a video and maps it, with the random generators seeded for the visit."""

    records: Sequence[Record]
    mapper: Mapper
    frame_offsets: Sequence[int]
    reverse_prob: float

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, visit: tuple[int, int]) -> Record:
        video, seed = visit
        with _seeded(seed):
            clip = draw_training_clip(self.records[video], self.frame_offsets, self.reverse_prob)
            return self.mapper(clip)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed ``random`` and ``numpy.random``; afterwards they are as they were before."""
    state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)


def _worker_arguments(num_workers: int) -> dict[str, Any]:
    """What both loaders pass to DataLoader."""
    return {
        "num_workers": num_workers,
        "collate_fn": list,  # of the items, as they are
        "worker_init_fn": start_worker,
        "pin_memory": torch.cuda.is_available(),
        "generator": torch.Generator(),  # DataLoader would draw from torch's global one
    }


def start_worker(worker_id: int) -> None:
    """One thread per worker, since the workers are the parallelism; and a while to live at SIGTERM.

    Clusters send it to all processes of a job, and the step that is under way needs its clips.
    """
    torch.set_num_threads(1)
    cv2 = import_library("cv2", "Reading clips")
    cv2.setNumThreads(0)
    if hasattr(signal, "alarm"):  # not on Windows
        signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_SECONDS_TO_LIVE))


def _check_batch_size(total_batch_size: int, world_size: int) -> None:
    if total_batch_size < 1 or total_batch_size % world_size:
        raise ValueError(
            f"A batch of {total_batch_size} clips (SOLVER.IMS_PER_BATCH) does not divide over "
            f"{world_size} processes. Use a multiple of {world_size}."
        )


def _num_targets(record: Record, offsets: Sequence[int], reverse_prob: float) -> int:
    """How many frames of a video can be the target of a training clip."""
    if "frames" not in record:
        raise ValueError(
            f"Video {record.get('video_id')}: a training record holds the `frames` of a video, but "
            f"this one has {', '.join(record)}. Is a dataset among DATASETS.TRAIN that was "
            "registered with is_train=False?"
        )
    num_frames, labelled = len(record["frames"]), labelled_frames(record)
    return max(map(len, training_targets(num_frames, offsets, reverse_prob, labelled)))


def _report_videos_without_clip(
    records: Sequence[Record], num_targets: Sequence[int], offsets: Sequence[int]
) -> None:
    """One warning names the videos without targets; if no video has one, an error does."""
    if not records:
        raise ValueError("There are no training videos.")
    without = [_lengths(record) for record, targets in zip(records, num_targets) if not targets]
    why = (
        f"a clip with frame offsets {tuple(offsets)} takes {1 - min(offsets, default=0)} frames, "
        "and no labelled frame has all its references"
    )
    if len(without) == len(records):
        raise ValueError(
            f"No training video has a clip: {why}. Videos and their frames: {some(without, 10)}. "
            "Choose nearer "
            "MODEL.TEMPORAL.FRAME_OFFSETS, or see whether the masks are where they are looked for."
        )
    if without:
        logger.warning(
            "%d of %d training videos are left out: %s. These are, with their number of frames: %s",
            len(without),
            len(records),
            why,
            ", ".join(without),
        )


def _lengths(record: Record) -> str:
    """A video with its number of frames, and of labelled ones where these are fewer."""
    num_frames, num_labelled = len(record["frames"]), len(labelled_frames(record))
    labels = "" if num_labelled == num_frames else f", {num_labelled} labelled"
    return f"{record['video_id']} ({num_frames}{labels})"


def _group_by_video(records: Sequence[Record]) -> list[list[Record]]:
    """Test records by video, in the order of the dataset."""
    if not records:
        raise ValueError("There are no test frames.")
    if "frame_index" not in records[0]:
        raise ValueError(
            f"Video {records[0].get('video_id')}: a test record is a frame with its `frame_index`, "
            f"but this one has {', '.join(records[0])}. Is a dataset among DATASETS.TEST that was "
            "registered with is_train=True?"
        )
    videos = [list(g) for _, g in itertools.groupby(records, key=lambda r: r["video_id"])]
    for video in videos:
        if [record["frame_index"] for record in video] != list(range(len(video))):
            raise ValueError(
                f"The test records of video {video[0]['video_id']} must stand together, with "
                f"frame_index 0, 1, 2, ... in order."
            )
    return videos
