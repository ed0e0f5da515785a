"""What a person says of a folder of videos, in Python or in YAML, checked."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

from ..file_names import EXPECTED_NAME, fault_of_name
from ..images import MOST_CLASSES, ONE_CLASS, LabelMapping
from .label_arguments import (
    check_encoding,
    check_mapping,
    check_void,
    is_list_of,
    make_label_mapping,
    require,
)
from .path_format import PathFormat
from .records import FRAME_SUFFIXES
from .vspw_classes import voc_colors

ANNOTATION_SUFFIXES = (".json", ".xml")
NO_MASKS = (
    "COCO's, labelme's, CVAT's and such files hold outlines and names, not pixels. Export index "
    "masks from the program that wrote them: a PNG for every frame, whose values are class numbers"
)
DEFAULT_FRAMES = "{video}/frames/{frame}"
DEFAULT_MASKS = "{video}/masks/{frame}"


@dataclass(frozen=True)
class VideoFolderSpec:
    """A folder of videos; see ``register_video_folder`` for what the attributes mean.

    Attributes:
        videos: names; or a list file, relative to ``root``; or None for all.
        masks: None without labels.
        colors: one (R, G, B) per class.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    is_train: bool
    videos: tuple[str, ...] | Path | None
    frames: PathFormat
    masks: PathFormat | None
    colors: tuple[tuple[int, int, int], ...]
    label_mapping: LabelMapping
    split_at_gaps: bool


def check_arguments(name: str, arguments: Mapping[str, Any]) -> VideoFolderSpec:
    """From the arguments of ``register_video_folder`` but the name, whose values may be anything.

    Raises:
        ValueError: one is unknown, is missing, or is not what it should be. The error names it
            after ``name``.
    """
    if fault := fault_of_name(name):
        raise ValueError(f"the name of the dataset, {name!r}, {fault}; expected {EXPECTED_NAME}")
    for argument in arguments:
        if argument not in _CHECKS:
            near = difflib.get_close_matches(str(argument), _CHECKS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(_CHECKS)}"
            raise ValueError(f"{name}: there is no key {argument}; {hint}")
    checked = {}
    for argument, check in _CHECKS.items():
        if argument in _REQUIRED and argument not in arguments:
            raise ValueError(f"{name}: {argument} is missing")
        value = arguments.get(argument, _DEFAULTS.get(argument))
        try:
            checked[argument] = check(value)
        except ValueError as error:
            raise ValueError(f"{name}: {argument}: {error}") from error
    classes, frames, masks = checked["classes"], checked["frames"], checked["masks"]
    try:
        mapping = make_label_mapping(
            classes, checked.pop("label_mapping"), checked.pop("void"), checked.pop("mask_values")
        )
    except ValueError as error:
        raise ValueError(f"{name}: label_mapping: {error}") from error
    if checked["colors"] is None:
        checked["colors"] = tuple(voc_colors(len(classes)))
    if len(checked["colors"]) != len(classes):
        raise ValueError(
            f"{name}: colors: there are {len(classes)} classes, but {len(checked['colors'])} colors"
        )
    if masks is not None and (masks.has_video != frames.has_video or masks.text == frames.text):
        raise ValueError(
            f'{name}: masks: expected another path than that of frames, "{frames.text}", and '
            f'{{video}} in both or in neither; got "{masks.text}"'
        )
    return VideoFolderSpec(name, label_mapping=mapping, **checked)


def _folder(value: Any) -> Path:
    require(isinstance(value, (str, PathLike)), "a folder", value)
    return Path(value).expanduser()


def _class_names(value: Any) -> tuple[str, ...]:
    require(
        is_list_of(str, value) and 1 <= len(value) <= MOST_CLASSES,
        f"a list of 2 to {MOST_CLASSES} names (in quotes where YAML reads something else, such as "
        "yes)",
        value,
    )
    require(len(value) != 1, f"2 names or more. {ONE_CLASS}", value)
    require(len(set(value)) == len(value), "names that differ", value)
    return tuple(value)


def _flag(value: Any) -> bool:
    require(isinstance(value, bool), "true or false", value)
    return value


def _videos(value: Any) -> tuple[str, ...] | Path | None:
    if value is None:
        return None
    if isinstance(value, (str, PathLike)):
        return Path(value).expanduser()
    require(
        is_list_of(str, value) and len(value) > 0,
        "a file with one name per line, or a list of names (in quotes where YAML reads numbers)",
        value,
    )
    require(len(set(value)) == len(value), "names that differ", value)
    for video in value:
        if fault := fault_of_name(video):
            raise ValueError(f"the video {video!r} {fault}; expected {EXPECTED_NAME}")
    return tuple(value)


def _frames(value: Any) -> PathFormat:
    require(isinstance(value, str), "a path in quotes", value)
    return PathFormat(value, FRAME_SUFFIXES)


def _masks(value: Any) -> PathFormat | None:
    require(value is None or isinstance(value, str), "a path in quotes, or null", value)
    is_image = value is None or not value.lower().endswith(ANNOTATION_SUFFIXES)
    require(is_image, f"a path of PNGs, since {NO_MASKS}", value)
    return None if value is None else PathFormat(value, (".png",))


def _colors(value: Any) -> tuple[tuple[int, ...], ...] | None:
    if value is None:
        return None
    expected = "a list of [red, green, blue], each 0..255"
    require(isinstance(value, Sequence) and not isinstance(value, str), expected, value)
    for color in value:
        is_color = is_list_of(Integral, color) and len(color) == 3
        require(is_color and all(0 <= channel <= 255 for channel in color), expected, color)
    return tuple(tuple(map(int, color)) for color in value)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "root": _folder,
    "classes": _class_names,
    "is_train": _flag,
    "videos": _videos,
    "frames": _frames,
    "masks": _masks,
    "colors": _colors,
    "label_mapping": check_mapping,
    "void": check_void,
    "mask_values": check_encoding,
    "split_at_gaps": _flag,
}
_REQUIRED = ("root", "classes", "is_train")
# Of the others, None where it does not stand here.
_DEFAULTS = {"frames": DEFAULT_FRAMES, "masks": DEFAULT_MASKS, "split_at_gaps": False}
