"""Looking at the clips of a dataset: what `cffm visualize` shows."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from PIL import Image

from ..core.clips import training_targets
from ..data import (
    ClipMapper,
    build_clip_train_loader,
    common_label_mapping,
    names_and_colors,
    numbered_classes,
)
from ..data.clip_records import Record, labelled_frames
from ..pictures.clip_sheet import clip_sheet


def sheets(cfg: CfgNode, source: str, num_clips: int) -> Iterator[tuple[str, Image.Image]]:
    """Sheets of clips of DATASETS.TRAIN.

    Args:
        cfg: a complete config.
        source: "dataloader" or "annotation", see `cffm visualize --help`.
        num_clips: how many; of "annotation" there may be fewer.

    Yields:
        a name for a file: number, video, target frame; and the sheet.
    """
    num_classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    classes = list(zip(*names_and_colors(cfg.DATASETS.TRAIN, num_classes)))
    if source == "dataloader":
        clips: Iterator[Mapping[str, Any]] = itertools.chain.from_iterable(
            build_clip_train_loader(cfg)
        )
    else:
        clips = _dataset_clips(cfg, num_clips)
    for index, clip in enumerate(itertools.islice(clips, num_clips)):
        target = Path(clip["file_names"][-1]).stem
        name = f"{index:04d}_{clip['video_id']}_{target}".replace("/", "_")
        shown = classes or numbered_classes(num_classes)
        yield name, clip_sheet(clip, shown, image_format=cfg.INPUT.FORMAT)


def _dataset_clips(cfg: CfgNode, num_clips: int) -> Iterator[Mapping[str, Any]]:
    mapper = ClipMapper(
        is_train=True,
        augmentations=[],
        image_format=cfg.INPUT.FORMAT,
        label_mapping=common_label_mapping(cfg.DATASETS.TRAIN, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES),
        max_megapixels=cfg.INPUT.MAX_MEGAPIXELS,
    )
    offsets = tuple(cfg.MODEL.TEMPORAL.FRAME_OFFSETS)
    records = [record for name in cfg.DATASETS.TRAIN for record in DatasetCatalog.get(name)]
    clips = [clip for record in records for clip in _clips_of(record, offsets)]
    if not clips:
        raise ValueError(
            f"No labelled frame of DATASETS.TRAIN has references at {offsets}. Choose nearer "
            "MODEL.TEMPORAL.FRAME_OFFSETS."
        )
    count = min(num_clips, len(clips))
    for index in range(count):
        record, indices = clips[index * len(clips) // count]
        frames = [record["frames"][i] for i in indices]
        yield mapper(record | {"frames": frames, "frame_indices": indices})


def _clips_of(record: Record, offsets: Sequence[int]) -> list[tuple[Record, list[int]]]:
    """Every clip in the direction of time that ends in a labelled frame."""
    if "frames" not in record:
        raise ValueError(
            f"Video {record.get('video_id')}: DATASETS.TRAIN names a dataset for evaluation. Name "
            "one that was registered with is_train=True."
        )
    length, labelled = len(record["frames"]), labelled_frames(record)
    targets, _ = training_targets(length, offsets, 0.0, labelled)
    return [(record, [t + offset for offset in (*offsets, 0)]) for t in targets]
