"""Looking at the clips of a dataset: what tools/visualize_data.py runs."""

import argparse
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.utils.logger import setup_logger
from PIL import Image

from ..config import load_config
from ..data import (
    ClipMapper,
    build_clip_train_loader,
    check_registered,
    common_label_mapping,
    names_and_colors,
    numbered_classes,
)
from ..data.clip_records import Record, labelled_frames
from ..data.clips import training_targets
from ..engine import complete_config
from ..files import whole_file
from ..pictures.clip_sheet import clip_sheet
from ..stopping import stops_raised
from .writing import PictureWindow, WindowClosedError

DESCRIPTION = """Shows the clips that a config trains on: frames in order, with their labels painted
over them, void striped, the names of video and frames, and how far each frame is from the target.

    cffm visualize --source dataloader --config-file configs/camvid/demo.yaml \\
        --output-dir output/clips

--source dataloader: clips as training gets them, drawn and augmented. --source annotation: clips of
the dataset as it is, at its own size, evenly spaced over all of DATASETS.TRAIN.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write or show sheets of clips.

    Args:
        argv: the arguments; by default those of the process.

    Returns:
        the exit code: 1 after an error, which was printed.
    """
    args = _parse_args(argv)
    try:
        with stops_raised():
            _run(args)
    except WindowClosedError:
        pass
    except KeyboardInterrupt:
        return 130
    except (KeyError, ValueError, OSError, ImportError) as error:
        print(error.args[0] if isinstance(error, KeyError) else error, file=sys.stderr)
        return 1
    return 0


def _parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", choices=("dataloader", "annotation"), required=True)
    parser.add_argument("--config-file", default="", metavar="FILE")
    parser.add_argument(
        "--output-dir", default="./", metavar="DIR", help="where PNGs go (%(default)s)"
    )
    parser.add_argument(
        "--show", action="store_true", help="a window instead; any key: on, Escape: the end"
    )
    parser.add_argument(
        "--num-clips", type=_positive, default=16, metavar="N", help="how many (%(default)s)"
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys, after all flags"
    )
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _run(args: argparse.Namespace) -> None:
    setup_logger(name="cffm_plugin")
    cfg = load_config(args.config_file, args.opts)
    complete_config(cfg)
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty: name at least one registered dataset.")
    check_registered(cfg.DATASETS.TRAIN, "DATASETS.TRAIN")
    window = PictureWindow() if args.show else None
    count = 0
    for name, sheet in sheets(cfg, args.source, args.num_clips):
        if window is not None:
            window.show(sheet)
            continue
        with whole_file(Path(args.output_dir, f"{name}.png"), durable=False) as partial:
            sheet.save(partial)
        count += 1
    if window is None:
        print(f"{count} clips are in {args.output_dir}")


def sheets(cfg: CfgNode, source: str, num_clips: int) -> Iterator[tuple[str, Image.Image]]:
    """Sheets of clips of DATASETS.TRAIN.

    Args:
        cfg: a complete config.
        source: "dataloader" or "annotation", see ``DESCRIPTION``.
        num_clips: how many; of "annotation" there may be fewer.

    Yields:
        a name for a file: number, video, target frame; and the sheet.
    """
    num_classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    classes = list(zip(*names_and_colors(cfg.DATASETS.TRAIN, num_classes)))
    clips = _of_loader(cfg) if source == "dataloader" else _of_dataset(cfg, num_clips)
    for index, clip in enumerate(itertools.islice(clips, num_clips)):
        target = Path(clip["file_names"][-1]).stem
        name = f"{index:04d}_{clip['video_id']}_{target}".replace("/", "_")
        yield (
            name,
            clip_sheet(
                clip,
                classes or numbered_classes(num_classes),
                image_format=cfg.INPUT.FORMAT,
            ),
        )


def _of_loader(cfg: CfgNode) -> Iterator[Mapping[str, Any]]:
    for batch in build_clip_train_loader(cfg):
        yield from batch


def _of_dataset(cfg: CfgNode, num_clips: int) -> Iterator[Mapping[str, Any]]:
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
