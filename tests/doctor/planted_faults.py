"""A sound dataset, and faults to plant in it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cffm_plugin.data import read_mask
from cffm_plugin.doctor import Effect, Kind, check_dataset

K = 4
OFFSETS = (-9, -6, -3)
SIZE = (24, 32)
# Lengths just long enough: a clip takes 10 frames, VC counts from 17 on.
SOUND = {"train": {"t0": 12, "t1": 10}, "val": {"v0": 17}, "test": {"e0": 17}}
T0_MASK = "data/t0/mask/00000002.png"  # mask(root)


def check(root, **kwargs):
    return check_dataset(root, **{"num_classes": K, "jobs": 1, "offsets": OFFSETS} | kwargs)


def snapshot(folder):
    """All files of a folder: path -> content."""
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


# What plants a fault returns where the doctor must find it. Frame 2 of t0 is in some clips: it is
# the farthest reference of the last target, 11 - 9.


def frame(root, video="t0", index=2):
    return root / "data" / video / "origin" / f"{index:08d}.jpg"


def mask(root, video="t0", index=2):
    return root / "data" / video / "mask" / f"{index:08d}.png"


def remove(path, found=None):
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found or path


def write(path, content):
    path.write_bytes(content)
    return path


def cut(path, fraction=0.6):
    content = path.read_bytes()
    return write(path, content[: int(fraction * len(content))])


def zero_the_end(path, num_bytes):
    return write(path, path.read_bytes()[:-num_bytes] + bytes(num_bytes))


def link_to_nothing(path):
    path.unlink()
    path.symlink_to(path.parent / "nothing")
    return path


def resize(path, size=(16, 12)):
    with Image.open(path) as image:
        image.resize(size, Image.Resampling.NEAREST).save(path)
    return path


def resize_both(root, video):
    resize(mask(root, video))
    return resize(frame(root, video))


def resize_without_masks(root):
    remove(mask(root, "e0").parent)
    return resize(frame(root, "e0"))


def put_value(path, value=252, pixels=3):
    raw = read_mask(path)
    raw[5, 5 : 5 + pixels] = value
    Image.fromarray(raw).save(path)
    return path


def as_colour(path, mode="RGB"):
    raw = read_mask(path)
    Image.fromarray(np.stack([raw, 255 - raw, raw], axis=-1)).convert(mode).save(path)
    return path


def as_16_bit(path, one_value=None):
    raw = read_mask(path).astype(np.uint16)
    if one_value is not None:
        raw[5, 5] = one_value
    Image.fromarray(raw).save(path)
    return path


def shorten(root, video, num_frames):
    for name in sorted(os.listdir(root / "data" / video / "origin"))[num_frames:]:
        (root / "data" / video / "origin" / name).unlink()
        (root / "data" / video / "mask" / Path(name).with_suffix(".png")).unlink()
    return root / "data" / video


def add_line(root, split, video):
    path = root / f"{split}.txt"
    return write(path, path.read_bytes() + f"\n{video}".encode())


def copy_as_png(path):
    with Image.open(path) as image:
        image.save(path.with_suffix(".png"))
    return path, path.with_suffix(".png")


@dataclass(frozen=True)
class Fault:
    """A fault, what the doctor must say of it, and what the code must do about it."""

    name: str
    kind: Kind
    effects: tuple[Effect, ...]
    plant: Callable[[Path], Path | tuple[Path, ...]]


def faults(kind, effect, **plants):
    return [Fault(name, kind, (effect,), plant) for name, plant in plants.items()]


LOADING, TRAINING = Effect.LOADING_STOPS, Effect.TRAINING_STOPS
EVALUATION, NEVER_DRAWN = Effect.EVALUATION_STOPS, Effect.NEVER_DRAWN

FAULTS = [
    *faults(Kind.LIST_MISSING, LOADING, no_list=lambda r: remove(r / "val.txt")),
    *faults(Kind.LIST_EMPTY, LOADING, empty_list=lambda r: write(r / "val.txt", b"\n \n")),
    *faults(Kind.LIST_UNREADABLE, LOADING, latin_1=lambda r: write(r / "val.txt", b"v0\n\xe9")),
    *faults(Kind.ID_LISTED_TWICE, LOADING, id_twice=lambda r: add_line(r, "train", "t0")),
    *faults(
        Kind.ID_IN_TWO_SPLITS,
        Effect.SCORED_AFTER_TRAINING,
        in_train_and_val=lambda r: (add_line(r, "train", "v0"), r / "val.txt"),
    ),
    *faults(
        Kind.ID_IN_TWO_SPLITS,
        Effect.SCORED_IN_EACH,
        in_val_and_test=lambda r: (r / "val.txt", add_line(r, "test", "v0")),
    ),
    *faults(Kind.VIDEO_MISSING, LOADING, no_folder=lambda r: remove(r / "data" / "t1")),
    *faults(
        Kind.VIDEO_UNLISTED,
        Effect.VIDEO_NOT_READ,
        unlisted=lambda r: Path(shutil.copytree(r / "data" / "t1", r / "data" / "t9")),
    ),
    *faults(
        Kind.NO_FRAMES,
        LOADING,
        no_frames=lambda r: remove(r / "data" / "t1" / "origin"),
        all_hidden=lambda r: (
            [path.rename(path.with_name(f".{path.name}")) for path in frame(r).parent.iterdir()]
            and frame(r).parent
        ),
    ),
    *faults(Kind.FRAME_IN_TWO_FILES, LOADING, two_files=lambda r: copy_as_png(frame(r))),
    *faults(
        Kind.MASK_MISSING,
        LOADING,
        no_mask=lambda r: remove(mask(r), found=frame(r)),
        no_masks_of_val=lambda r: remove(
            mask(r, "v0").parent, found=tuple(frame(r, "v0", i) for i in range(17))
        ),
        some_masks_of_test=lambda r: remove(mask(r, "e0"), found=frame(r, "e0")),
    ),
    *faults(
        Kind.MASK_WITHOUT_FRAME,
        Effect.MASK_NOT_READ,
        mask_alone=lambda r: Path(shutil.copy(mask(r), mask(r, index=99))),
    ),
    *faults(
        Kind.FRAME_EMPTY,
        LOADING,
        empty_first_frame=lambda r: write(frame(r, index=0), b""),
    ),
    *faults(Kind.FRAME_EMPTY, TRAINING, empty_frame=lambda r: write(frame(r), b"")),
    *faults(Kind.FRAME_EMPTY, EVALUATION, empty_val_frame=lambda r: write(frame(r, "v0"), b"")),
    *faults(
        Kind.FRAME_EMPTY,  # of ten frames, clips take 0, 3, 6 and 9
        NEVER_DRAWN,
        empty_frame_of_no_clip=lambda r: write(frame(r, "t1", 1), b""),
    ),
    *faults(
        Kind.FRAME_DAMAGED,
        LOADING,
        first_frame_cut_in_header=lambda r: cut(frame(r, index=0), 0.01),
    ),
    *faults(
        Kind.FRAME_DAMAGED,
        TRAINING,
        cut_frame=lambda r: cut(frame(r)),
        first_frame_cut_after_header=lambda r: cut(frame(r, index=0)),
    ),
    *faults(Kind.FRAME_DAMAGED, EVALUATION, cut_val_frame=lambda r: cut(frame(r, "v0"))),
    *faults(
        Kind.FRAME_DAMAGED,
        Effect.READ_ANYWAY,
        frame_with_zeros_at_its_end=lambda r: zero_the_end(frame(r), 50),
    ),
    *faults(Kind.FRAME_NOT_AN_IMAGE, TRAINING, text_frame=lambda r: write(frame(r), b"404")),
    *faults(Kind.FRAME_UNREADABLE, TRAINING, frame_link=lambda r: link_to_nothing(frame(r))),
    *faults(
        Kind.FRAME_SIZES_DIFFER,
        Effect.FRAMES_STRETCHED,
        train_sizes=lambda r: resize_both(r, "t0"),
        test_sizes_without_masks=resize_without_masks,
    ),
    *faults(Kind.FRAME_SIZES_DIFFER, EVALUATION, val_sizes=lambda r: resize_both(r, "v0")),
    *faults(Kind.MASK_EMPTY, TRAINING, empty_mask=lambda r: write(mask(r), b"")),
    *faults(Kind.MASK_DAMAGED, TRAINING, cut_mask=lambda r: cut(mask(r))),
    *faults(Kind.MASK_DAMAGED, EVALUATION, cut_val_mask=lambda r: cut(mask(r, "v0"))),
    *faults(
        Kind.MASK_DAMAGED,
        Effect.READ_ANYWAY,
        mask_with_zeros_at_its_end=lambda r: zero_the_end(mask(r), 14),
    ),
    *faults(Kind.MASK_NOT_AN_IMAGE, EVALUATION, text_mask=lambda r: write(mask(r, "v0"), b"404")),
    *faults(Kind.MASK_UNREADABLE, TRAINING, mask_link=lambda r: link_to_nothing(mask(r))),
    *faults(Kind.MASK_COLOUR, TRAINING, rgb_mask=lambda r: as_colour(mask(r))),
    *faults(Kind.MASK_COLOUR, EVALUATION, rgba_mask=lambda r: as_colour(mask(r, "v0"), "RGBA")),
    *faults(Kind.MASK_16_BIT, TRAINING, mask_of_16_bits=lambda r: as_16_bit(mask(r))),
    *faults(Kind.MASK_SIZE, TRAINING, small_mask=lambda r: resize(mask(r))),
    *faults(Kind.MASK_SIZE, EVALUATION, small_val_mask=lambda r: resize(mask(r, "v0"))),
    *faults(
        Kind.MASK_FOREIGN_VALUES,
        Effect.COUNTED_AS_VOID,
        foreign_values=lambda r: (put_value(mask(r)), put_value(mask(r, index=5), K + 1)),
        some_of_no_clip=lambda r: (put_value(mask(r, "t1", 0)), put_value(mask(r, "t1", 1))),
    ),
    *faults(
        Kind.MASK_FOREIGN_VALUES,
        NEVER_DRAWN,
        foreign_values_of_no_clip=lambda r: put_value(mask(r, "t1", 1)),
    ),
    *faults(
        Kind.TOO_SHORT_FOR_CLIP,
        Effect.LEFT_OUT_OF_TRAINING,
        nine_frames=lambda r: shorten(r, "t1", 9),
    ),
    *faults(Kind.TOO_SHORT_FOR_VC, Effect.NOT_IN_VC, sixteen=lambda r: shorten(r, "v0", 16)),
]


def plant_many(root, write_vspw):
    """Thirteen faults in a new dataset, each in its own video or list; returns their kinds."""
    write_vspw(root, SOUND | {"train": {f"m{i:02d}": 12 for i in range(12)}}, SIZE)
    remove(root / "test.txt")
    add_line(root, "train", "m00")
    remove(root / "data" / "m01")
    remove(root / "data" / "m02" / "origin")
    write(frame(root, "m03"), b"")
    cut(frame(root, "m04"))
    cut(mask(root, "m05"))
    as_colour(mask(root, "m06"))
    as_16_bit(mask(root, "m07"))
    put_value(mask(root, "m08"))
    resize(mask(root, "m09"))
    remove(mask(root, "m10"))
    shorten(root, "m11", 9)
    return {
        *(Kind.LIST_MISSING, Kind.ID_LISTED_TWICE, Kind.VIDEO_MISSING, Kind.NO_FRAMES),
        *(Kind.FRAME_EMPTY, Kind.FRAME_DAMAGED, Kind.MASK_DAMAGED, Kind.MASK_COLOUR),
        *(Kind.MASK_16_BIT, Kind.MASK_FOREIGN_VALUES, Kind.MASK_SIZE, Kind.MASK_MISSING),
        Kind.TOO_SHORT_FOR_CLIP,
    }
