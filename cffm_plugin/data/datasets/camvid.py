"""CamVid (Brostow et al. 2009), the 480x360 version with 11 classes of the SegNet tutorial.

    $DETECTRON2_DATASETS/CamVid/
      train/  val/  test/                    frames, <sequence>_<frame number>.png or .jpg
      trainannot/  valannot/  testannot/     index masks of the same names: 0..10, void 11

A video is a stretch of a sequence without a jump in its frame numbers. They run at 30 per second:
training and test frames are a second apart, validation frames a fifteenth of a second.
"""

import itertools
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from ...errors import some
from ..images import IGNORE_LABEL, LabelMapping
from .gaps import cuts_at_gaps
from .records import (
    FRAME_SUFFIXES,
    SPLITS,
    Note,
    builtin_root,
    make_training_record,
    masks_of,
    records_of,
    register_builtin,
    size_of,
    stop_at,
    visible_files,
)

CAMVID_CLASSES = (
    *("sky", "building", "pole", "road", "sidewalk", "tree", "sign", "fence", "car"),
    *("pedestrian", "bicyclist"),
)
CAMVID_COLORS = (
    *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222)),
    *((128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
)
CAMVID_LABELS = LabelMapping(11, {k: k for k in range(11)}, void=(11, IGNORE_LABEL))


def load_camvid(
    root: str | PathLike, split: str, *, is_train: bool | None = None, note: Note = stop_at
) -> list[dict[str, Any]]:
    """Records of CamVid in the layout of the SegNet tutorial.

    Args:
        root: the folder with ``train``, ``trainannot`` and so on; ``~`` is expanded.
        split: "train", "val" or "test".
        is_train: True for training records, one per video; False for test records, one per frame.
            By default True for the split "train".
        note: see ``load_vspw``; told of the masks and of the videos' first frames.

    Returns:
        As ``load_vspw``. A video's id is the name of its first frame.

    Raises:
        FileNotFoundError: the folder, its frames or a mask is missing.
        ValueError: there is no such split, or a file's name does not end in a frame number.
    """
    if split not in SPLITS:
        raise ValueError(f"CamVid has the splits {', '.join(SPLITS)}; got {split!r}")
    root = Path(root).expanduser()
    mask_folder = root / f"{split}annot"
    stretches = [[root / split / name for name in names] for names in _stretches(root / split)]
    frames = [frame for stretch in stretches for frame in stretch]
    masks = masks_of(frames, mask_folder, visible_files(mask_folder, (".png",)), note)
    mask_of = dict(zip(frames, masks))
    videos = []
    for stretch in stretches:
        size = size_of(stretch[0], note, stretch[0].stem)
        pairs = [(frame, mask_of[frame]) for frame in stretch]
        videos.append(make_training_record(stretch[0].stem, pairs, size))
    return records_of(videos, split == "train" if is_train is None else is_train)


def _stretches(folder: Path) -> Iterator[list[str]]:
    """The file names of every video in a folder, in order.

    Frame numbers jump where they grow by more than twice the sequence's usual step.
    """
    names = visible_files(folder, FRAME_SUFFIXES)
    if not names:
        raise FileNotFoundError(
            f"{folder}: there are no frames ({', '.join(FRAME_SUFFIXES)}). See "
            "datasets/README.md for CamVid's layout."
        )
    numbers = {name: _sequence_and_number(folder / name) for name in names}
    names.sort(key=numbers.__getitem__)
    for _, group in itertools.groupby(names, key=lambda name: numbers[name][0]):
        sequence = list(group)
        steps = [numbers[b][1] - numbers[a][1] for a, b in itertools.pairwise(sequence)]
        if 0 in steps:
            twice = [name for name, step in zip(sequence, steps) if step == 0]
            raise ValueError(f"{folder}: several files are the same frame: {some(twice)}.")
        cuts = cuts_at_gaps([numbers[name][1] for name in sequence])
        for start, end in itertools.pairwise([0, *cuts, len(sequence)]):
            yield sequence[start:end]


def _sequence_and_number(file: Path) -> tuple[str, int]:
    """ "0006R0_f00930.png" -> ("0006R0", 930)."""
    match = re.fullmatch(r"(.+)_\D*(\d+)", file.stem)
    if match is None:
        raise ValueError(
            f"{file}: expected a frame of CamVid, <sequence>_<frame number>{file.suffix}, such as "
            "0001TP_006690.png. Move other files away."
        )
    return match[1], int(match[2])


def _load_builtin(split: str, note: Note = stop_at) -> list[dict[str, Any]]:
    root = builtin_root("CamVid", "Get the SegNet tutorial's repository, which holds it")
    return load_camvid(root, split, note=note)


register_builtin(
    "camvid",
    _load_builtin,
    classes=CAMVID_CLASSES,
    colors=CAMVID_COLORS,
    label_mapping=CAMVID_LABELS,
)
