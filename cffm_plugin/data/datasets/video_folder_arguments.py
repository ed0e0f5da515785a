"""What a person says of a folder of videos, in Python or in YAML, checked."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

from ..images import IGNORE_LABEL, LabelMapping
from .path_format import PathFormat
from .records import FRAME_SUFFIXES
from .vspw_classes import voc_colors

DEFAULT_FRAMES = "{video}/frames/{frame}"
DEFAULT_MASKS = "{video}/masks/{frame}"

MOST_CLASSES = 255  # what 8 bits hold beside void


@dataclass(frozen=True)
class VideoFolder:
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


def check_arguments(name: str, arguments: Mapping[str, Any]) -> VideoFolder:
    """From the arguments of ``register_video_folder`` but the name, whose values may be anything.

    Raises:
        ValueError: one is unknown, is missing, or is not what it should be. The error names it
            after ``name``.
    """
    for argument in arguments:
        if argument not in _CHECKS:
            near = difflib.get_close_matches(str(argument), _CHECKS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(_CHECKS)}"
            raise ValueError(f"{name}: there is no key {argument}; {hint}")
    checked = {}
    for argument, check in _CHECKS.items():
        if argument not in arguments and argument not in _DEFAULTS:
            raise ValueError(f"{name}: {argument} is missing")
        value = arguments.get(argument, _DEFAULTS.get(argument))
        try:
            checked[argument] = check(value)
        except ValueError as error:
            raise ValueError(f"{name}: {argument}: {error}") from error
    classes, frames, masks = checked["classes"], checked["frames"], checked["masks"]
    try:
        mapping = _label_mapping(classes, checked.pop("label_mapping"), checked.pop("void"))
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
    return VideoFolder(name, label_mapping=mapping, **checked)


def _folder(value: Any) -> Path:
    _require(isinstance(value, (str, PathLike)), "a folder", value)
    return Path(value).expanduser()


def _class_names(value: Any) -> tuple[str, ...]:
    _require(
        _is_list_of(str, value) and 1 <= len(value) <= MOST_CLASSES,
        f"a list of 1 to {MOST_CLASSES} names (in quotes where YAML reads something else, such as "
        "yes)",
        value,
    )
    _require(len(set(value)) == len(value), "names that differ", value)
    return tuple(value)


def _flag(value: Any) -> bool:
    _require(isinstance(value, bool), "true or false", value)
    return value


def _videos(value: Any) -> tuple[str, ...] | Path | None:
    if value is None:
        return None
    if isinstance(value, (str, PathLike)):
        return Path(value).expanduser()
    _require(
        _is_list_of(str, value) and len(value) > 0,
        "a file with one name per line, or a list of names (in quotes where YAML reads numbers)",
        value,
    )
    _require(len(set(value)) == len(value), "names that differ", value)
    return tuple(value)


def _frames(value: Any) -> PathFormat:
    _require(isinstance(value, str), "a path in quotes", value)
    return PathFormat(value, FRAME_SUFFIXES)


def _masks(value: Any) -> PathFormat | None:
    _require(value is None or isinstance(value, str), "a path in quotes, or null", value)
    return None if value is None else PathFormat(value, (".png",))


def _colors(value: Any) -> tuple[tuple[int, ...], ...] | None:
    if value is None:
        return None
    expected = "a list of [red, green, blue], each 0..255"
    _require(isinstance(value, Sequence) and not isinstance(value, str), expected, value)
    for color in value:
        is_color = _is_list_of(Integral, color) and len(color) == 3
        _require(is_color and all(0 <= channel <= 255 for channel in color), expected, color)
    return tuple(tuple(map(int, color)) for color in value)


def _mapping(value: Any) -> Mapping[int, str | int] | None:
    expected = "value in the masks: name or index of its class"
    _require(value is None or isinstance(value, Mapping), expected, value)
    for raw, to in (value or {}).items():
        _require(_is_list_of(Integral, [raw]), expected, f"{raw!r}: {to!r}")
        _require(_is_list_of((str, Integral), [to]), expected, f"{raw!r}: {to!r}")
    return value


def _void(value: Any) -> tuple[int, ...]:
    is_values = _is_list_of(Integral, value) and all(0 <= raw <= 255 for raw in value)
    _require(is_values, "a list of values in the masks, 0..255", value)
    return tuple(map(int, value))


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "root": _folder,
    "classes": _class_names,
    "is_train": _flag,
    "videos": _videos,
    "frames": _frames,
    "masks": _masks,
    "colors": _colors,
    "label_mapping": _mapping,
    "void": _void,
}
_DEFAULTS: dict[str, Any] = {
    "videos": None,
    "frames": DEFAULT_FRAMES,
    "masks": DEFAULT_MASKS,
    "colors": None,
    "label_mapping": None,
    "void": (IGNORE_LABEL,),
}


def _label_mapping(
    classes: Sequence[str], mapping: Mapping[int, str | int] | None, void: tuple[int, ...]
) -> LabelMapping:
    if mapping is None:
        mapping = {k: k for k in range(len(classes))}
        if both := sorted(set(mapping) & set(void)):
            raise ValueError(
                f"is missing, so value k is class k, but void names the values {both} too. Say in "
                "label_mapping which value is which class"
            )
    class_of = {}
    for raw, to in mapping.items():
        if isinstance(to, str) and to not in classes:
            near = difflib.get_close_matches(to, classes, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(classes)}"
            raise ValueError(f"value {raw} is of class {to}, which is not among classes; {hint}")
        class_of[int(raw)] = classes.index(to) if isinstance(to, str) else int(to)
    return LabelMapping(len(classes), class_of, void)


def _require(condition: bool, expected: str, got: Any) -> None:
    if not condition:
        raise ValueError(f"expected {expected}; got {got!r}")


def _is_list_of(kind: type | tuple[type, ...], value: Any) -> bool:
    """Whether a value is a list (or tuple) of a kind; True and False are no numbers."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return False
    return all(isinstance(entry, kind) and not isinstance(entry, bool) for entry in value)
