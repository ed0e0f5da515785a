"""Data loaders and samplers that know videos.

Training: every visit to a video has a number, and everything random in it (which video, which clip,
every augmentation) is a function of the seed and that number alone. So a run is the same for any
number of worker processes, and a resumed run goes on where it stopped.
"""

import contextlib
import heapq
import itertools
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetCatalog, DatasetFromList, MapDataset
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, Sampler

from .clips import check_offsets, inference_clip, is_long_enough
from .mapper import ClipMapper

Record = dict[str, Any]
Mapper = Callable[[Record], Record]

logger = logging.getLogger(__name__)


class VideoTrainingSampler(Sampler[tuple[int, int]]):
    """An endless stream of (video index, seed of the visit): shuffled passes over the videos.

    The stream is one for all processes; visit i goes to process i % ``world_size``.

    Args:
        visits_per_pass: for each video, how often a pass visits it.
        seed: what the stream is a function of. The same in all processes.
        rank, world_size: this process, and how many there are.
        start: number of the visit to begin at.
    """

    def __init__(
        self,
        visits_per_pass: Sequence[int],
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
    ):
        self.videos = np.repeat(np.arange(len(visits_per_pass)), visits_per_pass)
        if len(self.videos) == 0:
            raise ValueError(
                f"There must be a video to visit, got visits_per_pass={list(visits_per_pass)}."
            )
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.start = start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        first = self.start + (self.rank - self.start) % self.world_size
        order, order_of = np.empty(0, dtype=int), -1
        for visit in itertools.count(first, self.world_size):
            shuffle, position = divmod(visit, len(self.videos))
            if shuffle != order_of:
                rng = np.random.default_rng(self._seed_sequence("shuffle", shuffle))
                order, order_of = rng.permutation(self.videos), shuffle
            visit_seed = self._seed_sequence("visit", visit).generate_state(1)[0]
            yield int(order[position]), int(visit_seed)

    def _seed_sequence(self, purpose: str, number: int) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.seed, spawn_key=(purpose == "visit", number))


class VideoInferenceSampler(Sampler[int]):
    """Frame indices of whole videos, a video's frames in order.

    Videos are dealt to the processes, longest first to the one with the fewest frames so far. A
    process may get none.

    Args:
        video_lengths: number of frames of each video, in the order of the dataset. Frame indices
            run through the videos in that order.
        rank, world_size: this process, and how many there are.
    """

    def __init__(self, video_lengths: Sequence[int], rank: int = 0, world_size: int = 1):
        ends = itertools.accumulate(video_lengths)
        spans = [range(end - length, end) for length, end in zip(video_lengths, ends)]
        mine = _deal(video_lengths, world_size)[rank]
        self.indices = [index for video in mine for index in spans[video]]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def _deal(lengths: Sequence[int], num_processes: int) -> list[list[int]]:
    """Per process, the videos it gets, in the order of the dataset."""
    dealt: list[list[int]] = [[] for _ in range(num_processes)]
    loads = [(0, process) for process in range(num_processes)]
    for video in sorted(range(len(lengths)), key=lambda video: -lengths[video]):
        load, process = heapq.heappop(loads)
        dealt[process].append(video)
        heapq.heappush(loads, (load + lengths[video], process))
    return [sorted(videos) for videos in dealt]


def _train_loader_from_config(cfg: CfgNode, mapper: Mapper | None = None) -> dict[str, Any]:
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty: name at least one registered dataset.")
    return {
        "records": [record for name in cfg.DATASETS.TRAIN for record in DatasetCatalog.get(name)],
        "mapper": mapper or ClipMapper(cfg, is_train=True),
        "total_batch_size": cfg.SOLVER.IMS_PER_BATCH,
        "frame_offsets": cfg.MODEL.CFFM.FRAME_OFFSETS,
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
    frame_offsets: Sequence[int],
    seed: int,
    uniform_over: str = "videos",
    num_workers: int = 0,
    start_iter: int = 0,
) -> DataLoader:
    """An endless loader of training clips: lists of ``total_batch_size // world_size`` dicts.

    Also ``build_clip_train_loader(cfg, mapper=None, *, start_iter=0)``: the datasets of
    DATASETS.TRAIN, one after another, through a ``ClipMapper``.

    Args:
        records: one per video. Those too short for a clip are left out, and named in the log.
        mapper: from a record to what the model takes.
        total_batch_size: clips per iteration over all processes.
        frame_offsets: references relative to the target; says how long a clip is.
        seed: what all randomness is a function of. The same in all processes.
        uniform_over: "videos": a pass visits every video once, however long (as for VSPW);
            "targets": as often as it has targets, so that every target is as likely.
        num_workers: worker processes; the clips do not depend on it.
        start_iter: the iteration to begin at, for a resumed run.

    Raises:
        ValueError: the batch does not divide over the processes, or no video is long enough.
    """
    rank, world_size = comm.get_rank(), comm.get_world_size()
    if total_batch_size < 1 or total_batch_size % world_size:
        raise ValueError(
            f"A batch of {total_batch_size} clips (SOLVER.IMS_PER_BATCH) does not divide over "
            f"{world_size} processes. Use a multiple of {world_size}."
        )
    if uniform_over not in ("videos", "targets"):
        raise ValueError(
            f'uniform_over (DATALOADER.UNIFORM_OVER) is "videos" or "targets", got "{uniform_over}".'
        )
    usable = _long_enough_videos(records, frame_offsets)
    sampler = VideoTrainingSampler(
        [1 if uniform_over == "videos" else _num_targets(v, frame_offsets) for v in usable],
        seed,
        rank,
        world_size,
        start=start_iter * total_batch_size,
    )
    return DataLoader(
        _VideoVisits(DatasetFromList(usable, copy=False), mapper),
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
        "frame_offsets": cfg.MODEL.CFFM.FRAME_OFFSETS if cfg.MODEL.CFFM.ENABLED else (),
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
    }


@configurable(from_config=_test_loader_from_config)
def build_clip_test_loader(
    records: Sequence[Record],
    *,
    mapper: Mapper,
    frame_offsets: Sequence[int],
    num_workers: int = 0,
) -> DataLoader:
    """A loader of this process's test frames, one by one: lists of one dict.

    A video's frames all go to one process, in order. A process may get no frame.
    Also ``build_clip_test_loader(cfg, dataset_name, mapper=None)``.

    Args:
        records: one per frame, a video's frames in order. Their ``reference_file_names`` are
            replaced by those for ``frame_offsets``.
        mapper: from a record to what the model takes.
        frame_offsets: references relative to the target. (): the target alone.
        num_workers: worker processes.

    Raises:
        ValueError: there are no records, or a video's frames are not together and in order.
    """
    videos = _group_by_video(records)
    dataset = [frame for video in videos for frame in _with_references(video, frame_offsets)]
    sampler = VideoInferenceSampler(
        [len(video) for video in videos], comm.get_rank(), comm.get_world_size()
    )
    return DataLoader(
        MapDataset(DatasetFromList(dataset, copy=False), mapper),
        batch_size=1,
        sampler=sampler,
        **_worker_arguments(num_workers),
    )


class _VideoVisits(Dataset):
    """Maps a video's record with the random generators seeded for the visit."""

    def __init__(self, records: Sequence[Record], mapper: Mapper):
        self.records = records
        self.mapper = mapper

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, visit: tuple[int, int]) -> Record:
        video, seed = visit
        with _seeded(seed):
            return self.mapper(self.records[video])


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
        "collate_fn": _keep_as_list,
        "worker_init_fn": _limit_threads,
        "pin_memory": torch.cuda.is_available(),
        "generator": torch.Generator(),  # DataLoader would draw from torch's global one
    }


def _keep_as_list(batch: list[Record]) -> list[Record]:
    return batch


def _limit_threads(worker_id: int) -> None:
    """One thread per worker: the workers are the parallelism."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _long_enough_videos(records: Sequence[Record], offsets: Sequence[int]) -> list[Record]:
    """The videos that have a clip; one warning names the others."""
    check_offsets(offsets)
    if not records:
        raise ValueError("There are no training videos.")
    frames_needed = 1 - min(offsets, default=0)
    usable = [record for record in records if is_long_enough(len(record["frames"]), offsets)]
    short = [
        f"{record['video_id']} ({len(record['frames'])})"
        for record in records
        if not is_long_enough(len(record["frames"]), offsets)
    ]
    if not usable:
        raise ValueError(
            f"No training video has a clip: frame offsets {tuple(offsets)} take {frames_needed} "
            f"frames. Videos and their frames: {', '.join(short[:10])}"
            f"{f' and {len(short) - 10} more' if len(short) > 10 else ''}."
        )
    if short:
        logger.warning(
            "%d of %d training videos are left out: a clip with frame offsets %s takes %d frames. "
            "Too short are, with their number of frames: %s",
            len(short),
            len(records),
            tuple(offsets),
            frames_needed,
            ", ".join(short),
        )
    return usable


def _num_targets(record: Record, offsets: Sequence[int]) -> int:
    """How many frames of a video can be the target of a training clip."""
    return len(record["frames"]) + min(offsets, default=0)


def _group_by_video(records: Sequence[Record]) -> list[list[Record]]:
    """Test records by video, in the order of the dataset."""
    if not records:
        raise ValueError("There are no test frames.")
    videos = [list(g) for _, g in itertools.groupby(records, key=lambda r: r["video_id"])]
    for video in videos:
        if [record["frame_index"] for record in video] != list(range(len(video))):
            raise ValueError(
                f"The test records of video {video[0]['video_id']} must stand together, with "
                f"frame_index 0, 1, 2, ... in order."
            )
    return videos


def _with_references(video: list[Record], offsets: Sequence[int]) -> Iterator[Record]:
    """Copies of a video's test records, with the reference frames that ``offsets`` ask for."""
    file_names = [record["file_name"] for record in video]
    for record in video:
        *references, _ = inference_clip(record["frame_index"], offsets)
        yield record | {"reference_file_names": [file_names[index] for index in references]}
