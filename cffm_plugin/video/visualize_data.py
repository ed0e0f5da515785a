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
    check_registered,
    common_label_mapping,
    names_and_colors,
    numbered_classes,
)
from ..data.clip_records import Record, labelled_frames
from ..job_spec import JobSpec
from ..pictures.clip_sheet import clip_sheet


def sheets(cfg: CfgNode, source: str, num_clips: int) -> Iterator[tuple[str, Image.Image]]:
    """Sheets of clips of DATASETS.TRAIN.

    Args:
        cfg: a complete config.
        source: "dataloader" or "annotation", see `cffm visualize --help`.
        num_clips: how many; of "annotation" there may be fewer.

    Yields:
        a name for a file: number, video, target frame; and the sheet.

    Raises:
        KeyError, ValueError: DATASETS.TRAIN is empty, or names what is not registered or has no
            clips.
    """
    spec = JobSpec.from_config(cfg)
    if not spec.train:
        raise ValueError("DATASETS.TRAIN is empty: name at least one registered dataset.")
    check_registered(spec.train, "DATASETS.TRAIN")
    classes = list(zip(*names_and_colors(spec.train, spec.num_classes)))
    clips = _loader_clips(cfg) if source == "dataloader" else _dataset_clips(spec, num_clips)
    for index, clip in enumerate(itertools.islice(clips, num_clips)):
        target = Path(clip["file_names"][-1]).stem
        name = f"{index:04d}_{clip['video_id']}_{target}".replace("/", "_")
        yield (
            name,
            clip_sheet(
                clip,
                classes or numbered_classes(spec.num_classes),
                image_format=spec.image_format,
            ),
        )


def _loader_clips(cfg: CfgNode) -> Iterator[Mapping[str, Any]]:
    for batch in build_clip_train_loader(cfg):
        yield from batch


def _dataset_clips(spec: JobSpec, num_clips: int) -> Iterator[Mapping[str, Any]]:
    mapper = ClipMapper(
        is_train=True,
        augmentations=[],
        image_format=spec.image_format,
        label_mapping=common_label_mapping(spec.train, spec.num_classes),
        max_megapixels=spec.max_megapixels,
    )
    offsets = spec.frame_offsets
    records = [record for name in spec.train for record in DatasetCatalog.get(name)]
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
