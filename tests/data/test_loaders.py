"""Samplers and loaders: what is drawn, in which order, by which process."""

import itertools
import logging
import random
from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.utils import comm

from cffm_plugin.core import clips
from cffm_plugin.data import (
    VideoInferenceSampler,
    VideoTrainingSampler,
    build_clip_test_loader,
    build_clip_train_loader,
    register_vspw,
)

OFFSETS = (-9, -6, -3)


def take(iterable, count):
    return list(itertools.islice(iterable, count))


@pytest.fixture
def as_process(monkeypatch):
    """``as_process(rank, world_size)``: what detectron2 says of this process from then on."""

    def pretend(rank, world_size):
        monkeypatch.setattr(comm, "get_rank", lambda: rank)
        monkeypatch.setattr(comm, "get_world_size", lambda: world_size)

    return pretend


# The training sampler


def test_videos_are_visited_in_shuffled_passes_as_often_as_asked():
    videos = [video for video, _ in take(VideoTrainingSampler([1] * 7, seed=0), 35)]
    passes = [tuple(videos[i : i + 7]) for i in range(0, 35, 7)]
    assert all(sorted(one) == list(range(7)) for one in passes)
    assert len(set(passes)) > 1
    stream = [video for video, _ in take(VideoTrainingSampler([1, 0, 4, 2], seed=0), 21)]
    for start in (0, 7, 14):
        assert sorted(stream[start : start + 7]) == [0, 2, 2, 2, 2, 3, 3]
    with pytest.raises(ValueError, match="must be a video to visit"):
        VideoTrainingSampler([], seed=0)


def test_every_visit_has_a_seed_of_its_own_and_seeds_make_different_streams():
    assert len({seed for _, seed in take(VideoTrainingSampler([1] * 3, seed=0), 1000)}) == 1000
    streams = [tuple(take(VideoTrainingSampler([1] * 20, seed=seed), 20)) for seed in range(5)]
    assert len({tuple(video for video, _ in stream) for stream in streams}) == 5
    assert len({seed for stream in streams for _, seed in stream}) == 100


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("start", [0, 6, 7])
def test_visit_i_goes_to_process_i_modulo_world_size(world_size, start):
    stream = take(VideoTrainingSampler([1] * 5, seed=4), 40)
    for rank in range(world_size):
        mine = VideoTrainingSampler([1] * 5, seed=4, rank=rank, world_size=world_size, start=start)
        expected = [stream[i] for i in range(start, 40) if i % world_size == rank]
        assert take(mine, len(expected)) == expected


# The training loader


def build(cfg, *args, num_workers=0, seed=1, **kwargs):
    cfg = cfg.clone()
    cfg.DATALOADER.NUM_WORKERS = num_workers
    cfg.SEED = seed
    return build_clip_train_loader(cfg, *args, **kwargs)


def summary(batches):
    """What identifies batches of clips, down to every pixel."""
    return [
        [
            (clip["video_id"], tuple(clip["frame_indices"]))
            + tuple(tensor.numpy().tobytes() for tensor in clip["image"] + clip["sem_seg"])
            for clip in batch
        ]
        for batch in batches
    ]


def test_uniform_over_targets_draws_every_target_as_often(tiny_vspw):
    records = DatasetCatalog.get(tiny_vspw.train)  # 12, 14 and 13 frames

    def drawn(uniform_over):
        loader = build_clip_train_loader(
            records,
            mapper=lambda record: record,
            total_batch_size=1,
            frame_offsets=(-9, -6, -3),
            seed=0,
            uniform_over=uniform_over,
        )
        return Counter(clip["video_id"] for (clip,) in itertools.islice(loader, 12))

    assert drawn("targets") == {"t0": 3, "t1": 5, "t2": 4}
    assert drawn("videos") == {"t0": 4, "t1": 4, "t2": 4}
    with pytest.raises(ValueError, match="UNIFORM_OVER.*frames"):
        drawn("frames")


def test_batches_are_lists_of_clips_which_do_not_depend_on_the_number_of_workers(tiny_cfg):
    batches = take(build(tiny_cfg), 4)
    for batch in batches:
        assert isinstance(batch, list) and len(batch) == 2
        assert all(len(clip["image"]) == len(clip["sem_seg"]) == 4 for clip in batch)
    for num_workers in (1, 2):
        found = summary(take(build(tiny_cfg, num_workers=num_workers), 4))
        assert found == summary(batches)


def test_clips_are_reproduced_by_the_seed_whatever_was_drawn_elsewhere(tiny_cfg, monkeypatch):
    expected = summary(take(build(tiny_cfg), 3))
    seed_all(99)
    batches = []
    for batch in take(build(tiny_cfg), 3):
        batches.append(batch)
        random.random(), np.random.rand(), torch.rand(1)
    assert summary(batches) == expected
    assert summary(take(build(tiny_cfg, seed=2), 3)) != expected
    monkeypatch.setattr(comm, "shared_random_seed", lambda: 1)  # where there is no seed
    assert summary(take(build(tiny_cfg, seed=-1), 3)) == expected


def seed_all(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def fail(record):
    random.random(), np.random.rand()
    raise RuntimeError("as planned")


def failing(cfg, name):
    with pytest.raises(RuntimeError, match="as planned"):
        take(build(cfg, fail), 1)


@pytest.mark.parametrize(
    "load",
    [
        lambda cfg, name: take(build(cfg), 2),
        failing,
        lambda cfg, name: keys(build_clip_test_loader(cfg, name)),
    ],
    ids=["training", "a_mapper_that_fails", "test"],
)
def test_loading_leaves_the_global_random_state_alone(tiny_cfg, tiny_vspw, load):
    seed_all(0)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    load(tiny_cfg, tiny_vspw.val)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("rank", [None, 1])
def test_a_resumed_loader_goes_on_where_it_stopped(tiny_cfg, as_process, num_workers, rank):
    if rank is not None:
        as_process(rank, 2)
    expected = summary(take(build(tiny_cfg), 5))
    resumed = build(tiny_cfg, num_workers=num_workers, start_iter=3)
    assert summary(take(resumed, 2)) == expected[3:]


def test_processes_share_one_stream_without_overlap(tiny_cfg, as_process):
    tiny_cfg.SOLVER.IMS_PER_BATCH = 4
    whole = summary(take(build(tiny_cfg), 3))
    parts = []
    for rank in range(2):
        as_process(rank, 2)
        parts.append(summary(take(build(tiny_cfg), 3)))
    for iteration in range(3):
        first, second = (part[iteration] for part in parts)
        assert len(first) == len(second) == 2
        # Visits go to the processes in turn.
        assert [first[0], second[0], first[1], second[1]] == whole[iteration]


@pytest.mark.parametrize(("batch", "world_size"), [(3, 2), (2, 4), (0, 1)])
def test_a_batch_that_does_not_divide_over_the_processes_is_refused(
    tiny_cfg, as_process, batch, world_size
):
    tiny_cfg.SOLVER.IMS_PER_BATCH = batch
    as_process(0, world_size)
    with pytest.raises(ValueError, match=rf"{batch} clips.*IMS_PER_BATCH.*{world_size} processes"):
        build(tiny_cfg)


def threads_of_this_process(record):
    return {"torch": torch.get_num_threads(), "opencv": cv2.getNumThreads()}


def test_workers_use_one_thread_each(tiny_cfg):
    cv2.setNumThreads(2)
    try:
        (batch,) = take(build(tiny_cfg, threads_of_this_process, num_workers=1), 1)
    finally:
        cv2.setNumThreads(1)  # as in conftest.py
    assert batch == [{"torch": 1, "opencv": 1}] * 2


def test_every_video_is_visited_equally_often(tiny_cfg):
    loader = build(tiny_cfg, lambda record: record["video_id"])
    visits = [video_id for batch in take(loader, 30) for video_id in batch]
    assert Counter(visits) == {"t0": 20, "t1": 20, "t2": 20}


def test_training_datasets_are_joined(tiny_cfg, tiny_vspw):
    register_vspw("cffm_test_joined", tiny_vspw.root, "val", classes=["x"] * 4, is_train=True)
    try:
        tiny_cfg.DATASETS.TRAIN = (tiny_vspw.train, "cffm_test_joined")
        visits = [clip["video_id"] for batch in take(build(tiny_cfg), 5) for clip in batch]
        assert set(visits) == set(tiny_vspw.lengths)
    finally:
        DatasetCatalog.remove("cffm_test_joined")


def test_training_datasets_must_be_named_and_known(tiny_cfg):
    tiny_cfg.DATASETS.TRAIN = ()
    with pytest.raises(ValueError, match=r"DATASETS\.TRAIN is empty"):
        build(tiny_cfg)
    tiny_cfg.DATASETS.TRAIN = ("vspw_trian",)
    with pytest.raises(KeyError, match=r"vspw_trian.*vspw_train"):
        build(tiny_cfg)


# Videos shorter than a clip


@pytest.fixture
def short_cfg(tiny_cfg, tmp_path, write_vspw):
    """Two videos are long enough, of 10 and 11 frames; two are not, of 9 and 2."""
    root = write_vspw(tmp_path / "short", {"train": {"ten": 10, "nine": 9, "two": 2, "more": 11}})
    register_vspw("cffm_test_short", root, "train", classes=["x"] * 4)
    tiny_cfg.DATASETS.TRAIN = ("cffm_test_short",)
    yield tiny_cfg
    DatasetCatalog.remove("cffm_test_short")


def test_videos_shorter_than_a_clip_are_left_out_with_one_warning_that_names_them(
    short_cfg, caplog
):
    with caplog.at_level(logging.WARNING):
        visits = [clip["video_id"] for batch in take(build(short_cfg), 6) for clip in batch]
    assert set(visits) == {"ten", "more"}
    (record,) = caplog.records
    for part in ("2 of 4", "nine (9)", "two (2)", "takes 10 frames", "(-9, -6, -3)"):
        assert part in record.getMessage()
    assert "ten (" not in record.getMessage()


def test_shorter_offsets_use_shorter_videos_and_longer_ones_none(short_cfg, caplog):
    short_cfg.MODEL.TEMPORAL.FRAME_OFFSETS = (-1,)
    visits = [clip["video_id"] for batch in take(build(short_cfg), 4) for clip in batch]
    assert set(visits) == {"ten", "nine", "two", "more"}
    assert not caplog.records
    short_cfg.MODEL.TEMPORAL.FRAME_OFFSETS = (-30, -20, -10)
    with pytest.raises(ValueError, match=r"No training video.*takes 31 frames.*more \(11\)"):
        build(short_cfg)


# Sparse labels


def sparse(record, labelled):
    """A training record with masks on the frames ``labelled`` alone."""
    frames = [
        frame if i in labelled else frame | {"sem_seg_file_name": None}
        for i, frame in enumerate(record["frames"])
    ]
    return record | {"frames": frames}


def visits(records, count, **kwargs):
    arguments = {"total_batch_size": 1, "frame_offsets": OFFSETS, "seed": 0} | kwargs
    loader = build_clip_train_loader(records, mapper=as_it_is, **arguments)
    return Counter(record["video_id"] for (record,) in take(loader, count))


def test_uniform_over_targets_counts_labelled_targets(tiny_vspw):
    # Forward targets are frames 9 and later, backward ones those of index up to length - 10.
    t0, t1, t2 = DatasetCatalog.get(tiny_vspw.train)  # 12, 14 and 13 frames
    records = [sparse(t0, [2, 9]), sparse(t1, [9, 11, 13, 1]), sparse(t2, [0, 3])]
    # t0: 9 | 2. t1: 9, 11, 13 | 1. t2: none | 0, 3. The larger number counts.
    assert visits(records, 12, uniform_over="targets") == {"t0": 2, "t1": 6, "t2": 4}
    # Without reversal in time t2 has no target.
    forward = visits(records, 8, uniform_over="targets", reverse_prob=0.0)
    assert forward == {"t0": 2, "t1": 6}


def test_videos_whose_labelled_frames_lack_references_are_left_out_and_named(tiny_vspw, caplog):
    t0, t1, t2 = DatasetCatalog.get(tiny_vspw.train)
    with caplog.at_level(logging.WARNING):
        # Frame 6 of 14 has neither frame -3 nor frame 15.
        assert visits([t0, sparse(t1, [6]), sparse(t2, [])], 3) == {"t0": 3}
    (record,) = caplog.records
    message = record.getMessage()
    for part in ("2 of 3", "no labelled frame has all its references", "t1 (14, 1 labelled)"):
        assert part in message
    assert "t2 (13, 0 labelled)" in message and "t0 (" not in message


def test_no_video_with_a_labelled_target_is_an_error(tiny_vspw):
    records = [sparse(record, []) for record in DatasetCatalog.get(tiny_vspw.train)]
    with pytest.raises(ValueError, match=r"No training video.*no labelled frame.*t0 \(12, 0 label"):
        visits(records, 1)


def test_training_and_test_records_are_told_apart(tiny_vspw):
    with pytest.raises(ValueError, match=r"Video v0.*frames.*DATASETS\.TRAIN.*is_train=False"):
        visits(DatasetCatalog.get(tiny_vspw.val), 1)
    with pytest.raises(ValueError, match=r"Video t0.*frame_index.*DATASETS\.TEST.*is_train=True"):
        build_clip_test_loader(
            DatasetCatalog.get(tiny_vspw.train), mapper=as_it_is, frame_offsets=OFFSETS
        )


# The test sampler


@pytest.mark.parametrize("world_size", range(1, 6))
@pytest.mark.parametrize("seed", range(6))
def test_every_frame_goes_to_one_process_in_whole_videos_and_in_order(world_size, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, size=rng.integers(1, 9)).tolist()
    video_of = np.repeat(np.arange(len(lengths)), lengths)
    samplers = [VideoInferenceSampler(lengths, rank, world_size) for rank in range(world_size)]
    dealt = [list(sampler) for sampler in samplers]

    assert sorted(itertools.chain(*dealt)) == list(range(sum(lengths)))
    assert all(len(sampler) == len(indices) for sampler, indices in zip(samplers, dealt))
    owners = [set(video_of[indices].tolist()) for indices in dealt]
    assert sum(map(len, owners)) == len(lengths)  # no video is with two processes
    assert all(indices == sorted(indices) for indices in dealt)
    # The last video that went to the fullest process went to the emptiest one at that time.
    loads = [len(indices) for indices in dealt]
    assert max(loads) - min(loads) <= max(lengths)


def test_videos_are_dealt_longest_first_to_the_least_loaded():
    # 9 to the first, 7 to the second, 5 to the second (12), 4 to the first (13), 1 to the second.
    for _ in range(2):
        dealt = [list(VideoInferenceSampler([4, 9, 1, 7, 5], rank, 2)) for rank in range(2)]
        assert dealt == [[*range(0, 13)], [*range(13, 26)]]


# The test loader


def keys(loader):
    return [(item["video_id"], item["frame_index"]) for (item,) in loader]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_test_loader_gives_every_frame_once_and_in_order(tiny_cfg, tiny_vspw, num_workers):
    tiny_cfg.DATALOADER.NUM_WORKERS = num_workers
    loader = build_clip_test_loader(tiny_cfg, tiny_vspw.val)
    expected = [(v, i) for v in ("v0", "v1") for i in range(tiny_vspw.lengths[v])]
    assert len(loader) == len(expected) == 32
    assert keys(loader) == expected


def as_it_is(record):
    return record


def test_references_are_those_of_the_configured_offsets(tiny_cfg, tiny_vspw):
    for offsets in (OFFSETS, (-4, -2), (-2, -1)):
        tiny_cfg.MODEL.TEMPORAL.FRAME_OFFSETS = offsets
        items = [item for (item,) in build_clip_test_loader(tiny_cfg, tiny_vspw.val, as_it_is)]
        video = [item["file_name"] for item in items if item["video_id"] == "v1"]
        for item in items:
            if item["video_id"] == "v1":
                *references, _ = clips.inference_clip(item["frame_index"], offsets)
                assert item["reference_file_names"] == [video[index] for index in references]


def test_the_image_segmentor_gets_no_references(tiny_cfg, tiny_vspw):
    tiny_cfg.MODEL.TEMPORAL.ENABLED = False
    for (item,) in build_clip_test_loader(tiny_cfg, tiny_vspw.val):
        assert len(item["image"]) == 1 and item["reference_file_names"] == []


class Collect(DatasetEvaluator):
    """The frames that came, and how many images each had."""

    def reset(self):
        self.seen = []

    def process(self, inputs, outputs):
        self.seen += [
            (item["video_id"], item["frame_index"], len(item["image"])) for item in inputs
        ]

    def evaluate(self):
        return {"seen": self.seen}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_three_processes_evaluate_two_videos_with_detectron2s_loop(
    tiny_cfg, tiny_vspw, as_process, num_workers
):
    tiny_cfg.DATALOADER.NUM_WORKERS = num_workers
    seen = []
    for rank in range(3):
        as_process(rank, 3)
        loader = build_clip_test_loader(tiny_cfg, tiny_vspw.val)
        seen.append(inference_on_dataset(lambda inputs: inputs, loader, Collect())["seen"])
        assert len(loader) == len(seen[-1])
    # The longest video to the first process, the other one to the second, nothing to the third.
    assert seen[0] == [("v1", i, 1 if i < 3 else 4) for i in range(20)]
    assert seen[1] == [("v0", i, 1 if i < 3 else 4) for i in range(12)]
    assert seen[2] == []


def test_a_videos_records_must_stand_together_and_in_order(tiny_vspw):
    records = DatasetCatalog.get(tiny_vspw.val)
    for wrong in (records[::-1], records[1:], records[:2] + records[12:] + records[2:12]):
        with pytest.raises(ValueError, match=r"video v\d must stand together"):
            build_clip_test_loader(wrong, mapper=as_it_is, frame_offsets=OFFSETS)


def test_no_records_are_an_error():
    with pytest.raises(ValueError, match="no test frames"):
        build_clip_test_loader([], mapper=as_it_is, frame_offsets=OFFSETS)
    with pytest.raises(ValueError, match="no training videos"):
        build_clip_train_loader(
            [], mapper=as_it_is, total_batch_size=1, frame_offsets=OFFSETS, seed=0
        )
