"""Samplers that know videos: which video is visited when, and by which process."""

import heapq
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


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
