"""What a person says of the values in masks, in Python or in YAML, checked: label_mapping, void and
mask_values."""

import difflib
import re
import reprlib
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from ..images import IGNORE_LABEL, LabelMapping
from ..mask_encoding import PLAIN, MaskEncoding

# Values in errors: aliases in a short YAML file make lists that would fill the memory as text.
_SHOWN = reprlib.Repr()
_SHOWN.maxlevel, _SHOWN.maxstring, _SHOWN.maxother = 2, 200, 200

FROM_0, FROM_1 = "from_0", "from_1"  # label_mapping in a word
_COLOR = re.compile("#[0-9a-fA-F]{6}")

Value = int | str  # as it stands in a mask: a number, or a colour such as "#804080"


def check_mapping(value: Any) -> Mapping[Value, str | int] | str | None:
    """``label_mapping`` as it was written, with types that are right."""
    expected = (
        f"{FROM_0}, {FROM_1}, or value in the masks (a number, or a colour in quotes such as "
        '"#804080"): name or index of its class'
    )
    if value is None or value in (FROM_0, FROM_1):
        return value
    require(isinstance(value, Mapping), expected, value)
    for raw, to in value.items():
        shown = f"{raw!r}: {_SHOWN.repr(to)}"
        require(_is_value(raw) and is_list_of((str, Integral), [to]), expected, shown)
    return value


def check_void(value: Any) -> tuple[Value, ...] | None:
    """``void`` as it was written."""
    expected = 'a list of values in the masks, 0..255 (or colours in quotes such as "#000000")'
    require(value is None or is_list_of((str, Integral), value), expected, value)
    for raw in value or ():
        is_right = _is_value(raw) and (isinstance(raw, str) or 0 <= raw <= 255)
        require(is_right, expected, value)
    return None if value is None else tuple(value)


def check_encoding(value: Any) -> MaskEncoding:
    """``mask_values``: where the values stand in a mask."""
    if value is None:
        return PLAIN
    keys = ("channel", "divide", "divide_from")
    require(
        isinstance(value, Mapping),
        f"{{channel: R}}, {{divide: 1000}} or the like, of {keys}",
        value,
    )
    for key, said in value.items():
        require(key in keys, f"the keys {', '.join(keys)}", key)
        kind = str if key == "channel" else Integral
        require(
            is_list_of(kind, [said]),
            f"{key}: {'R, G, B or A' if kind is str else 'a number'}",
            said,
        )
    return MaskEncoding(**value)


def make_label_mapping(
    classes: Sequence[str],
    mapping: Mapping[Value, str | int] | str | None,
    void: tuple[Value, ...] | None,
    encoding: MaskEncoding,
) -> LabelMapping:
    """What the values in masks mean, from what was written and checked.

    Raises:
        ValueError: a value is of a class that is not there, or is void too; or colours stand beside
            numbers or beside another encoding.
    """
    said = {"label_mapping": mapping, "void": void}
    assumed = frozenset(key for key, value in said.items() if value is None)
    default: tuple[int, ...] = (0, IGNORE_LABEL) if mapping == FROM_1 else (IGNORE_LABEL,)
    if mapping is None or isinstance(mapping, str):
        mapping = _counted(classes, mapping, void or ())
    written = [*mapping, *(void or ())]
    colors = sorted({raw.lower() for raw in written if isinstance(raw, str)})
    if colors:
        if encoding != PLAIN:
            raise ValueError("names colours, so that mask_values has nothing to say")
        if numbers := [raw for raw in written if not isinstance(raw, str)]:
            raise ValueError(f"names colours, but label_mapping or void the numbers {numbers} too")
        encoding, default = MaskEncoding(colors=tuple(map(_rgb, colors))), ()
    class_of = {}
    for raw, to in mapping.items():
        if isinstance(to, str) and to not in classes:
            near = difflib.get_close_matches(to, classes, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(classes)}"
            raise ValueError(f"value {raw} is of class {to}, which is not among classes; {hint}")
        index = classes.index(to) if isinstance(to, str) else int(to)
        class_of[_number(raw, colors)] = index
    # What is of a class is not void by default.
    no_class = [v for v in default if v not in class_of] if void is None else void
    numbers_of_void = tuple(_number(raw, colors) for raw in no_class)
    return LabelMapping(len(classes), class_of, numbers_of_void, encoding, assumed)


def _counted(
    classes: Sequence[str], word: str | None, void: Sequence[Value]
) -> dict[Value, str | int]:
    """Value -> class where classes count from 0, or from 1."""
    first = 1 if word == FROM_1 else 0
    mapping: dict[Value, str | int] = {k + first: k for k in range(len(classes))}
    if both := [raw for raw in mapping if raw in void]:
        named = "is missing" if word is None else f"is {word}"
        raise ValueError(
            f"{named}, so value {'k is class k - 1' if first else 'k is class k'}, but void names "
            f"the values {both} too. Say in label_mapping which value is which class"
        )
    return mapping


def require(condition: bool, expected: str, got: Any) -> None:
    """Raise ValueError, with what was expected, unless the condition holds."""
    if not condition:
        raise ValueError(f"expected {expected}; got {_SHOWN.repr(got)}")


def is_list_of(kind: type | tuple[type, ...], value: Any) -> bool:
    """Whether a value is a list (or tuple) of a kind; True and False are no numbers."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return False
    return all(isinstance(entry, kind) and not isinstance(entry, bool) for entry in value)


def _is_value(raw: Any) -> bool:
    if isinstance(raw, str):
        return _COLOR.fullmatch(raw) is not None
    return is_list_of(Integral, [raw])


def _number(raw: Value, colors: Sequence[str]) -> int:
    """What a value is to a ``LabelMapping``: colours are numbered in their order."""
    return colors.index(raw.lower()) if isinstance(raw, str) else int(raw)


def _rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue
