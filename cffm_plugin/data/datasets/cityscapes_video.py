"""Cityscapes with its video (Cordts et al. 2016): 19 classes, one labelled frame per snippet.

    $DETECTRON2_DATASETS/cityscapes/
      leftImg8bit_sequence/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png
      gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png

Both as in the dataset's own archives; nothing is generated. A snippet is 30 frames of 17 per
second, of which the twentieth is labelled. A video is a stretch of a sequence without a jump in its
frame numbers: a snippet, or several that follow each other.
"""

import itertools
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from ...errors import some
from ..images import IGNORE_LABEL, LabelMapping, image_size
from .path_format import PathFormat
from .records import SPLITS, builtin_root, make_training_record, records_of, register_builtin

# The classes that are evaluated: name, id in the files, colour.
_CLASSES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
CITYSCAPES_CLASSES = tuple(name for name, _, _ in _CLASSES)
CITYSCAPES_COLORS = tuple(color for _, _, color in _CLASSES)
_CLASS_OF = {number: k for k, (_, number, _) in enumerate(_CLASSES)}
# The ids 0 to 33 that are not evaluated, such as "ego vehicle", are void.
CITYSCAPES_LABELS = LabelMapping(
    19, _CLASS_OF, void=(*(i for i in range(34) if i not in _CLASS_OF), IGNORE_LABEL)
)

_FRAMES = "leftImg8bit_sequence"
_FRAME_SUFFIX = "_leftImg8bit.png"
_MASK_SUFFIX = "_gtFine_labelIds.png"


def load_cityscapes_video(
    root: str | PathLike, split: str, *, is_train: bool | None = None
) -> list[dict[str, Any]]:
    """Records of Cityscapes' snippets.

    Args:
        root: the folder with ``leftImg8bit_sequence`` and ``gtFine``; ``~`` is expanded.
        split: "train", "val" or "test", which has no labels.
        is_train: True for training records, one per video; False for test records, one per frame,
            labelled or not. By default True for the split "train".

    Returns:
        As ``load_vspw``; ``sem_seg_file_name`` is None for the frames without labels. A video's id
        is the name of its first frame, such as "aachen_000000_000000". The size is that of the
        split's first frame, since all frames of Cityscapes are of one size.

    Raises:
        FileNotFoundError: the folder or its frames are missing, or the labels of a video in train
            or val.
        ValueError: there is no such split, a file's name is none of Cityscapes', or labels are of
            no frame.
    """
    if split not in SPLITS:
        raise ValueError(f"Cityscapes has the splits {', '.join(SPLITS)}; got {split!r}")
    root = Path(root).expanduser()
    masks = {} if split == "test" else _find(root, f"gtFine/{split}", _MASK_SUFFIX)
    frames = _find(root, f"{_FRAMES}/{split}", _FRAME_SUFFIX)
    if without_frame := [str(mask) for key, mask in masks.items() if key not in frames]:
        raise ValueError(
            f"{root / _FRAMES / split}: {len(without_frame)} labels are of frames that are not "
            f"there: {some(without_frame)}. Is the download complete?"
        )
    size = image_size(next(iter(frames.values())))
    videos = []
    for stretch in _stretches(frames):
        if split != "test" and not any(key in masks for key in stretch):
            raise FileNotFoundError(
                f"{frames[stretch[0]]} and the {len(stretch) - 1} frames after it: none has labels "
                f"in {root / 'gtFine' / split}. Is the download complete?"
            )
        video_id = frames[stretch[0]].name.removesuffix(_FRAME_SUFFIX)
        pairs = [(frames[key], masks.get(key)) for key in stretch]
        videos.append(make_training_record(video_id, pairs, size))
    return records_of(videos, split == "train" if is_train is None else is_train)


Key = tuple[str, int, int]  # city, sequence, frame


def _find(root: Path, folder: str, suffix: str) -> dict[Key, Path]:
    """The files of a split by city, sequence and frame, in order."""
    matches = PathFormat(f"{{video}}/{{frame}}{suffix}", (".png",)).find(root / folder)
    if not matches:
        raise FileNotFoundError(
            f"{root / folder}: there are no files <city>/<city>_<sequence>_<frame>{suffix}. "
            "datasets/README.md shows which of Cityscapes' archives hold them."
        )
    files = {}
    for file, city, name in matches:
        numbers = re.fullmatch(rf"{re.escape(city)}_(\d+)_(\d+)", name)
        if numbers is None:
            raise ValueError(
                f"{file}: expected a file of Cityscapes, {city}_<sequence>_<frame>{suffix}. Move "
                "other files away."
            )
        files[city, int(numbers[1]), int(numbers[2])] = file
    return dict(sorted(files.items()))


def _stretches(frames: dict[Key, Path]) -> Iterator[list[Key]]:
    """The frames of every video: those of a sequence whose numbers follow each other."""

    # Along a stretch, the position in the order and the frame's number grow alike.
    def stretch_of(entry: tuple[int, Key]) -> tuple[str, int, int]:
        position, (city, sequence, number) = entry
        return city, sequence, number - position

    for _, stretch in itertools.groupby(enumerate(frames), key=stretch_of):
        yield [key for _, key in stretch]


def _load_builtin(split: str) -> list[dict[str, Any]]:
    root = builtin_root(
        "cityscapes", "Unpack Cityscapes' leftImg8bit_sequence and gtFine archives into it"
    )
    return load_cityscapes_video(root, split)


register_builtin(
    "cityscapes_video",
    _load_builtin,
    classes=CITYSCAPES_CLASSES,
    colors=CITYSCAPES_COLORS,
    label_mapping=CITYSCAPES_LABELS,
)
