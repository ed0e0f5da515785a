"""Lists of classes that annotation programs write beside masks, and whether a dataset agrees.

They say which value, or colour, is which class, and win over an order that a person wrote. Read are
CVAT's labelmap.txt and label_colors.txt, labelme's class_names.txt, Roboflow's _classes.csv, and
lists of the same forms under other usual names.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ...errors import some
from ..images import IGNORE_LABEL, LabelMapping
from ..label_findings import as_yaml, is_background
from ..mask_encoding import hex_of
from .records import Note, Problem
from .video_folder_arguments import VideoFolderSpec

Color = tuple[int, ...]

_COLORED_LINE = re.compile(r"(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\S.*)")  # 64 128 64  Animal
_NUMBERED_LINE = re.compile(r"(\d+)[\s:,=]+(\S.*)")  # 3: road
_VALUE_COLUMNS = ("pixelvalue", "value", "id", "index", "classid", "labelid")
_NAME_COLUMNS = ("class", "name", "label", "classname", "labelname")
_COLOR_COLUMNS = (("r", "red"), ("g", "green"), ("b", "blue"))
_MOST_BYTES = 1 << 20  # a larger file is no list of classes
_USUAL_NAMES = ("classes.txt", "labels.txt", "classes.csv")  # of all sorts of lists
_IGNORED = "__ignore__"  # labelme's first line, whose value is 255


@dataclass(frozen=True)
class ClassFile:
    """What a file says of masks' values.

    Attributes:
        path: the file.
        names: value in index masks -> name.
        colors: value -> (R, G, B), where it tells.
    """

    path: Path
    names: dict[int, str]
    colors: dict[int, Color]


def find_class_files(masks: Iterable[Path], root: Path) -> dict[Path, Path]:
    """Files of classes -> one of the masks that they are of.

    They lie in the folder of a mask or above it, up to the dataset's root.

    Args:
        masks: of each folder at least one.
        root: of the dataset.
    """
    folders: dict[Path, Path] = {}
    for mask in masks:
        for folder in mask.parents:
            if folder in folders or (folder != mask.parent and not folder.is_relative_to(root)):
                break
            folders[folder] = mask
    files = {folder / name: mask for folder, mask in folders.items() for name in _READERS}
    return {file: mask for file, mask in files.items() if file.is_file()}


def read_class_file(path: Path) -> ClassFile | None:
    """A file of classes; None for one of the same name that is of another kind."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    entries = dict(_READERS[path.name]([line.strip() for line in lines if line.strip()]))
    if len(entries) < 2:
        return None
    names = {value: name for value, (name, _) in entries.items()}
    colors = {value: color for value, (_, color) in entries.items() if color is not None}
    return ClassFile(path, names, colors if len(set(colors.values())) == len(names) else {})


def check_class_files(dataset: VideoFolderSpec, masks: Iterable[Path], note: Note) -> None:
    """Compare what files beside masks say of their values with what the dataset says.

    Args:
        dataset: which it is.
        masks: of each folder at least one.
        note: told of what does not agree.

    Raises:
        ValueError: a file says otherwise, with what to write; unless ``note`` goes on.
    """
    classes, mapping = dataset.classes, dataset.label_mapping
    for path, mask in find_class_files(masks, dataset.root).items():
        found = read_class_file(path)
        if found is None:
            continue
        if not {*map(_plain, found.names.values())} & {*map(_plain, classes)}:
            if path.name not in _USUAL_NAMES:
                error = ValueError(
                    f"{path} names the classes of the masks {some(list(found.names.values()))}, "
                    f"and none of them is in `classes` of dataset {dataset.name}: whether the "
                    "order is the same can't be told. Use the file's names, or see for yourself."
                )
                note(Problem("class_file_unknown", (path,), error, stops=False))
        elif fault := _contradiction(found, mask, classes, mapping):
            error = ValueError(f"{path} and dataset {dataset.name}: {fault}")
            note(Problem("class_file_differs", (path,), error))


Entry = tuple[int, tuple[str, Color | None]]


def _contradiction(
    found: ClassFile, mask: Path, classes: tuple[str, ...], mapping: LabelMapping
) -> str | None:
    """What a class file and a dataset disagree in; None where they agree."""
    index_of = {_plain(name): k for k, name in enumerate(classes)}
    mode, palette = _mode_and_palette(mask)
    names = _by_palette(found, palette) or found.names
    known = {value: index_of.get(_plain(name)) for value, name in names.items()}
    paste = _to_paste(names, known, classes)
    if mapping.encoding.colors or (mode in ("RGB", "RGBA") and not mapping.encoding.channel):
        if not found.colors:
            return None
        says = {_number_of(mapping, found.colors[value]): index for value, index in known.items()}
        paste = _to_paste({v: found.names[v] for v in known}, known, classes, found.colors)
        if not mapping.encoding.colors:
            return (
                f"the masks, such as {mask}, are colour pictures, and the file says which colour "
                f"is which class. Write, in the YAML file of DATASETS.VIDEO_FOLDERS:\n{paste}"
            )
        shown = {_number_of(mapping, c): f"{hex_of(c)}" for c in found.colors.values()}
    else:
        says, shown = known, {value: str(value) for value in known}
    differ = [
        f"{shown.get(value, '?')} is {classes[index]} and not {_meaning(mapping, value, classes)}"
        for value, index in says.items()
        if index is not None and mapping.class_of.get(value) != index
    ]
    differ += [
        f"{shown[value]} is {name} and not {classes[mapping.class_of[value]]}"
        for (value, index), name in zip(says.items(), names.values())
        if index is None and is_background(name) and value in mapping.class_of
    ]
    if not differ:
        return None
    return (
        f"the file says of the values in the masks that {some(differ)}. The program that wrote the "
        f"masks wrote it, so write, in the YAML file of DATASETS.VIDEO_FOLDERS:\n{paste}\n"
        "If the file is not of these masks, move it away."
    )


def _to_paste(
    names: dict[int, str],
    known: dict[int, int | None],
    classes: tuple[str, ...],
    colors: dict[int, Color] | None = None,
) -> str:
    """The YAML lines for what a file says; names that are none of the classes become void."""

    def written(value: int) -> int | str:
        return value if colors is None else hex_of(colors[value])

    class_by_value = {written(v): classes[k] for v, k in known.items() if k is not None}
    others = [value for value, k in known.items() if k is None]
    void: list[int | str] = [written(value) for value in others]
    void += [IGNORE_LABEL] * (colors is None and IGNORE_LABEL not in {*others, *class_by_value})
    named = [f"{written(value)} is {names[value]}" for value in others]
    why = f"   # {some(named)}: none of classes" if named else ""
    return f"  {as_yaml('label_mapping', class_by_value)}\n  {as_yaml('void', void)}{why}"


def _number_of(mapping: LabelMapping, color: Color) -> int:
    """What a colour is to a label mapping of colours; -1 if it does not name it."""
    colors = list(mapping.encoding.colors)
    return colors.index(color) if color in colors else -1


def _meaning(mapping: LabelMapping, value: int, classes: tuple[str, ...]) -> str:
    index = mapping.class_of.get(value)
    return "void" if index is None else classes[index]


def _mode_and_palette(mask: Path) -> tuple[str, list[Color]]:
    """Pillow's mode of a mask, and its palette; ("", []) where it can't be had."""
    if not mask.is_file():  # a pipe would be waited for without end
        return "", []
    try:
        with Image.open(mask, formats=("PNG",)) as image:
            flat = image.getpalette() or []
            return image.mode, [tuple(flat[i : i + 3]) for i in range(0, len(flat), 3)]
    except (OSError, ValueError, SyntaxError):
        return "", []


def _by_palette(class_file: ClassFile, palette: list[Color]) -> dict[int, str] | None:
    """Value -> name by the colours of a mask's palette, which tell more than the file's order.

    None where the palette has not at least two of the file's colours beside black, as where it was
    made by another program.
    """
    name_of = {color: class_file.names[value] for value, color in class_file.colors.items()}
    found = {palette.index(color): name for color, name in name_of.items() if color in palette}
    if sum(any(palette[value]) for value in found) < 2:
        return None
    return dict(sorted(found.items()))


def _plain(name: str) -> str:
    """A name in small letters and without signs, so that "Traffic-Light" is "traffic light"."""
    return "".join(filter(str.isalnum, name.casefold())) or name


def _cvat(lines: list[str]) -> Iterator[Entry]:
    """labelmap.txt: "# label:color_rgb:parts:actions", then "road:128,64,128::"."""
    entries = [line.split(":") for line in lines if not line.startswith("#")]
    for value, parts in enumerate(entries):
        numbers = parts[1].split(",") if len(parts) > 1 else []
        is_color = len(numbers) == 3 and all(number.strip().isdigit() for number in numbers)
        yield value, (parts[0].strip(), tuple(map(int, numbers)) if is_color else None)


def _names(lines: list[str]) -> Iterator[Entry]:
    """A name on each line; before it its colour, or its value, where there are any."""
    if lines and lines[0] == _IGNORED:
        yield IGNORE_LABEL, (lines.pop(0), None)
    for value, line in enumerate(line for line in lines if not line.startswith("#")):
        if colored := _COLORED_LINE.fullmatch(line):
            yield value, (colored[4], tuple(map(int, colored.groups()[:3])))
        elif numbered := _NUMBERED_LINE.fullmatch(line):
            yield int(numbered[1]), (numbered[2], None)
        else:
            yield value, (line, None)


def _table(lines: list[str]) -> Iterator[Entry]:
    """Comma-separated, with a header that names a column of names."""
    rows = list(csv.reader(lines, skipinitialspace=True))
    header = [_plain(cell) for cell in rows[0]] if rows else []
    name, value = _column(header, _NAME_COLUMNS), _column(header, _VALUE_COLUMNS)
    color = [_column(header, names) for names in _COLOR_COLUMNS]
    if name is None:
        return
    for number, row in enumerate(rows[1:]):
        cells = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
        if value is not None and not cells[value].isdigit():
            return
        rgb = [cells[i] for i in color if i is not None]
        is_color = len(rgb) == 3 and all(cell.isdigit() for cell in rgb)
        key = number if value is None else int(cells[value])
        yield key, (cells[name], tuple(map(int, rgb)) if is_color else None)


def _column(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


_READERS: dict[str, Callable[[list[str]], Iterator[Entry]]] = {
    "labelmap.txt": _cvat,
    "label_colors.txt": _names,
    "class_names.txt": _names,
    "classes.txt": _names,
    "labels.txt": _names,
    "_classes.csv": _table,
    "classes.csv": _table,
    "class_dict.csv": _table,
    "label_colors.csv": _table,
}
