"""A sound dataset, and faults to plant in it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from raw_png import write_png

from cffm_plugin.data import Dataset, read_mask
from cffm_plugin.doctor import Severity, check_dataset

K = 4
OFFSETS = (-9, -6, -3)
SIZE = (24, 32)
# Lengths just long enough: a clip takes 10 frames, VC counts from 17 on.
SOUND = {"train": {"t0": 12, "t1": 10}, "val": {"v0": 17}, "test": {"e0": 17}}
T0_MASK = "data/t0/mask/00000002.png"  # mask(root)


def check(root, splits=("train", "val", "test"), num_classes=K, max_megapixels=100, **options):
    """Check the lists of a root under their own names."""
    classes = tuple(f"class {k}" for k in range(num_classes))
    folders = [Dataset.in_folder(root, split, num_classes, max_megapixels) for split in splits]
    datasets = [
        replace(folder, name=split, class_names=classes) for split, folder in zip(splits, folders)
    ]
    return check_dataset(datasets, **{"jobs": 1, "offsets": OFFSETS, "root": root} | options)


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


def loop(path):
    path.unlink()
    path.symlink_to(path.name)
    return path


def pipe(path):
    path.unlink()
    os.mkfifo(path)
    return path


def bomb(path):
    return write_png(path, (65500, 65500))


def turn_by_180(path, found):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    with Image.open(path) as image:
        image.save(path, exif=exif)
    return found


def break_name(root):
    mask(root).rename(mask(root).with_name("0\n2.png"))
    return frame(root).rename(frame(root).with_name("0\n2.jpg"))


def as_jpeg(path):
    with Image.open(path) as image:
        image.save(path, "JPEG")
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


def grey_of_16_bit(path):
    Image.fromarray(np.zeros(SIZE, np.uint16)).save(path, "PNG")
    return path


def shorten(root, video, num_frames):
    for name in sorted(os.listdir(root / "data" / video / "origin"))[num_frames:]:
        (root / "data" / video / "origin" / name).unlink()
        (root / "data" / video / "mask" / Path(name).with_suffix(".png")).unlink()
    return frame(root, video, 0)


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
    kind: str
    severity: Severity
    stops: tuple[str, ...]
    plant: Callable[[Path], Path | tuple[Path, ...]]


def faults(kind, effect, **plants):
    """``effect``: what stops with an error, or else how bad it is."""
    stops, severity = ((), effect) if isinstance(effect, Severity) else ((effect,), Severity.ERROR)
    return [Fault(name, kind, severity, stops, plant) for name, plant in plants.items()]


LOADING, TRAINING, EVALUATION = "loading", "training", "evaluation"
ERROR, WARNING, INFO = Severity

FAULTS = [
    *faults("list_missing", LOADING, no_list=lambda r: remove(r / "val.txt")),
    *faults("list_empty", LOADING, empty_list=lambda r: write(r / "val.txt", b"\n \n")),
    *faults("list_unreadable", LOADING, latin_1=lambda r: write(r / "val.txt", b"v0\n\xe9")),
    *faults("id_listed_twice", LOADING, id_twice=lambda r: add_line(r, "train", "t0")),
    *faults(
        "list_name_unsafe",
        LOADING,
        name_that_leads_out=lambda r: add_line(r, "train", "../t0"),
        absolute_name=lambda r: add_line(r, "train", str(r / "data" / "t0")),
        name_written_otherwise=lambda r: add_line(r, "train", "./t0"),
        name_with_a_line_separator=lambda r: add_line(r, "train", "t0\u2028t1"),
    ),
    *faults("frame_name_unsafe", LOADING, line_break_in_a_name=break_name),
    *faults(
        "video_in_two_datasets",
        WARNING,
        in_train_and_val=lambda r: add_line(r, "train", "v0") and frame(r, "v0", 0),
    ),
    *faults(
        "video_in_two_datasets",
        WARNING,
        in_val_and_test=lambda r: add_line(r, "test", "v0") and frame(r, "v0", 0),
    ),
    *faults("video_missing", LOADING, no_folder=lambda r: remove(r / "data" / "t1")),
    *faults(
        "video_unlisted",
        INFO,
        unlisted=lambda r: Path(shutil.copytree(r / "data" / "t1", r / "data" / "t9")),
    ),
    *faults(
        "no_frames",
        LOADING,
        no_frames=lambda r: remove(r / "data" / "t1" / "origin"),
        all_hidden=lambda r: (
            [path.rename(path.with_name(f".{path.name}")) for path in frame(r).parent.iterdir()]
            and frame(r).parent
        ),
    ),
    *faults("frame_in_two_files", LOADING, two_files=lambda r: copy_as_png(frame(r))),
    *faults(
        "mask_missing",
        LOADING,
        no_mask=lambda r: remove(mask(r)),
        no_masks_of_val=lambda r: remove(
            mask(r, "v0").parent, found=tuple(mask(r, "v0", i) for i in range(17))
        ),
        some_masks_of_test=lambda r: remove(mask(r, "e0")),
    ),
    *faults(
        "mask_without_frame",
        WARNING,
        mask_alone=lambda r: Path(shutil.copy(mask(r), mask(r, index=99))),
    ),
    *faults(
        "frame_unreadable",
        LOADING,
        empty_first_frame=lambda r: write(frame(r, index=0), b""),
        first_frame_pipe=lambda r: pipe(frame(r, index=0)),
    ),
    *faults("frame_unreadable", TRAINING, empty_frame=lambda r: write(frame(r), b"")),
    *faults("frame_unreadable", EVALUATION, empty_val_frame=lambda r: write(frame(r, "v0"), b"")),
    *faults(
        "frame_unreadable",  # of ten frames, clips take 0, 3, 6 and 9
        WARNING,
        empty_frame_of_no_clip=lambda r: write(frame(r, "t1", 1), b""),
    ),
    *faults(
        "frame_unreadable",
        LOADING,
        first_frame_cut_in_header=lambda r: cut(frame(r, index=0), 0.01),
    ),
    *faults(
        "frame_unreadable",
        TRAINING,
        cut_frame=lambda r: cut(frame(r)),
        first_frame_cut_after_header=lambda r: cut(frame(r, index=0)),
    ),
    *faults("frame_unreadable", EVALUATION, cut_val_frame=lambda r: cut(frame(r, "v0"))),
    *faults(
        "frame_incomplete", ERROR, frame_with_zeros_at_its_end=lambda r: zero_the_end(frame(r), 50)
    ),
    *faults("frame_unreadable", TRAINING, text_frame=lambda r: write(frame(r), b"404")),
    *faults(
        "frame_unreadable",
        TRAINING,
        frame_link=lambda r: link_to_nothing(frame(r)),
        frame_loop=lambda r: loop(frame(r)),
        frame_pipe=lambda r: pipe(frame(r)),
        frame_bomb=lambda r: bomb(frame(r)),
        frame_of_postscript=lambda r: write(frame(r), b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        frame_of_16_bit_grey=lambda r: grey_of_16_bit(frame(r)),
    ),
    *faults("exif_differs", WARNING, turned_frame=lambda r: turn_by_180(frame(r), found=mask(r))),
    *faults(
        "frame_sizes_differ",
        WARNING,
        train_sizes=lambda r: resize_both(r, "t0"),
        test_sizes_without_masks=resize_without_masks,
    ),
    *faults("frame_sizes_differ", EVALUATION, val_sizes=lambda r: resize_both(r, "v0")),
    *faults("mask_unreadable", TRAINING, empty_mask=lambda r: write(mask(r), b"")),
    *faults("mask_unreadable", TRAINING, cut_mask=lambda r: cut(mask(r))),
    *faults("mask_unreadable", EVALUATION, cut_val_mask=lambda r: cut(mask(r, "v0"))),
    *faults(
        "mask_incomplete", ERROR, mask_with_zeros_at_its_end=lambda r: zero_the_end(mask(r), 14)
    ),
    *faults(
        "mask_incomplete",
        WARNING,
        mask_of_no_clip_with_zeros=lambda r: zero_the_end(mask(r, "t1", 1), 14),
    ),
    *faults("mask_unreadable", EVALUATION, text_mask=lambda r: write(mask(r, "v0"), b"404")),
    *faults(
        "mask_unreadable",
        TRAINING,
        mask_link=lambda r: link_to_nothing(mask(r)),
        mask_loop=lambda r: loop(mask(r)),
        mask_pipe=lambda r: pipe(mask(r)),
        mask_bomb=lambda r: bomb(mask(r)),
        mask_jpeg=lambda r: as_jpeg(mask(r)),
    ),
    *faults("mask_unreadable", TRAINING, rgb_mask=lambda r: as_colour(mask(r))),
    *faults("mask_unreadable", EVALUATION, rgba_mask=lambda r: as_colour(mask(r, "v0"), "RGBA")),
    *faults("mask_unreadable", TRAINING, mask_of_16_bits=lambda r: as_16_bit(mask(r))),
    *faults("mask_size", TRAINING, small_mask=lambda r: resize(mask(r))),
    *faults("mask_size", EVALUATION, small_val_mask=lambda r: resize(mask(r, "v0"))),
    *faults(
        "mask_foreign_values",
        WARNING,
        foreign_values=lambda r: (put_value(mask(r)), put_value(mask(r, index=5), K + 1)),
        some_of_no_clip=lambda r: (put_value(mask(r, "t1", 0)), put_value(mask(r, "t1", 1))),
    ),
    *faults(
        "mask_foreign_values",
        WARNING,
        foreign_values_of_no_clip=lambda r: put_value(mask(r, "t1", 1)),
    ),
    *faults("video_without_clip", WARNING, nine_frames=lambda r: shorten(r, "t1", 9)),
    *faults("video_too_short_for_vc", INFO, sixteen=lambda r: shorten(r, "v0", 16)),
]


def plant_many(root, write_vspw):
    """Thirteen faults in a new dataset, each in its own video or list; kind -> files."""
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
        "list_missing": "test.txt",
        "id_listed_twice": "train.txt",
        "video_missing": "data/m01",
        "no_frames": "data/m02/origin",
        "frame_unreadable": "data/m03/origin/00000002.jpg data/m04/origin/00000002.jpg",
        "mask_unreadable": "data/m05/mask/00000002.png data/m06/mask/00000002.png "
        "data/m07/mask/00000002.png",
        "mask_foreign_values": "data/m08/mask/00000002.png",
        "mask_size": "data/m09/mask/00000002.png",
        "mask_missing": "data/m10/mask/00000002.png",
        "video_without_clip": "data/m11/origin/00000000.jpg",
    }
