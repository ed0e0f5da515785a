"""What is odd about the values in masks, told from how many pixels have each."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import some
from ..libraries import import_library
from .images import IGNORE_LABEL, LabelMapping
from .mask_encoding import PLAIN

_LEVELS = ("error", "warning", "info")
_NAMED = 10  # values or classes in a message
_some = functools.partial(some, most=_NAMED)
# What programs call that which nobody outlined, in small letters and without signs.
_BACKGROUNDS = (
    *("background", "bg", "void", "unlabeled", "unlabelled", "none", "other", "others", "ignore"),
)
_TRIFLE = 0.01  # largest share of the pixels of values that are accidents


@dataclass(frozen=True)
class LabelFinding:
    """Something odd about the values in masks.

    Attributes:
        kind: what it is, such as "labels_shifted".
        level: an "error" spoils training or makes it impossible; a "warning" may; an "info" is good
            to know.
        message: the values concerned and what to do.
    """

    kind: str
    level: str
    message: str


def label_findings(
    histogram: np.ndarray, mapping: LabelMapping, class_names: Sequence[str]
) -> list[LabelFinding]:
    """What is odd about the values in masks.

    Where nobody has said what the values mean, and they may mean something else than the default, a
    finding asks: with an error if the default is wrong for some of them, else with a warning.

    Args:
        histogram: (256,) pixels of each raw value, in all masks or in a sample of them.
        mapping: what the values are said to mean; K classes.
        class_names: K names.

    Returns:
        the findings, worst first; none where there are no pixels.
    """
    if not histogram.any():
        return []
    about = _Labels(histogram, mapping, class_names)
    decided = about.shift() or about.one_class()
    if decided is not None and decided.level == "error":
        return [decided]
    findings = [decided, about.all_void(), about.from_zero()]
    if decided is None or decided.kind != "labels_shifted":
        findings.append(about.foreign_values())
    findings += [about.without_value(), about.absent()]
    return sorted((f for f in findings if f is not None), key=lambda f: _LEVELS.index(f.level))


def class_shares(
    histogram: np.ndarray, mapping: LabelMapping, class_names: Sequence[str]
) -> dict[str, float]:
    """Class -> its share of all pixels, 0..1; the last entry is that of "no class"."""
    labels = np.bincount(mapping(np.arange(256, dtype=np.uint8)), histogram, IGNORE_LABEL + 1)
    shares = labels / max(histogram.sum(), 1)
    named = {str(name): float(shares[k]) for k, name in enumerate(class_names)}
    return named | {"no class": float(shares[IGNORE_LABEL])}


class _Labels:
    """Masks' values and what they are said to mean."""

    def __init__(self, histogram: np.ndarray, mapping: LabelMapping, class_names: Sequence[str]):
        self.histogram = histogram
        self.mapping = mapping
        self.names = [str(name) for name in class_names]
        present = np.flatnonzero(histogram)
        self.values: list[int] = present.tolist()
        self.foreign = mapping.foreign_values(present.astype(np.uint8))
        labels = mapping(np.arange(256, dtype=np.uint8))
        self.pixels = np.bincount(labels, histogram, IGNORE_LABEL + 1)[: mapping.num_classes]
        self.is_numbered = mapping.class_of == {k: k for k in range(mapping.num_classes)}

    def shift(self) -> LabelFinding | None:
        """Value k is said to be class k, from 0, and K, which is of no class then, occurs.

        Other foreign values in greater number speak of more classes than were named.
        """
        num_classes = self.mapping.num_classes
        if not self.is_numbered or num_classes not in self.foreign:
            return None
        from_one = 2 * self.histogram[num_classes] > self.histogram[self.foreign].sum()
        unsaid = "label_mapping" in self.mapping.assumed
        if from_one and not self.histogram[0]:
            return LabelFinding("labels_shifted", "error", self._no_zero_message())
        if unsaid:
            kind = "labels_shifted" if from_one else "labels_undecided"
            return LabelFinding(kind, "error", self._question(f"{num_classes} is of none"))
        if not from_one:
            return None
        message = (
            f"{self._foreign_message()} If 0 is void and classes count from 1: "
            "label_mapping: from_1."
        )
        return LabelFinding("labels_shifted", "warning", message)

    def one_class(self) -> LabelFinding | None:
        """All that is of a class is of one, and what is not may be only by default."""
        occurring = np.flatnonzero(self.pixels)
        asked = ("void" in self.mapping.assumed and self.histogram[IGNORE_LABEL]) or (
            "label_mapping" in self.mapping.assumed and self.foreign
        )
        if len(occurring) != 1 or not asked or self.mapping.encoding.colors:
            return None
        only = self.names[occurring[0]]
        others = [v for v in self.values if self.mapping.class_of.get(v) != occurring[0]]
        # A mapping that names classes is no guess only where the background is known.
        in_order = sorted(self.names, key=lambda name: not is_background(name))
        is_known = len(self.values) == len(self.names) and is_background(in_order[0])
        answer = dict(zip(self.values, in_order if is_known else ["CLASS"] * len(self.values)))
        message = (
            f"the masks hold {self._shares()}; only {only} would be learned, and training would "
            f"end with a perfect score, since {_some(others)} would count as void: nobody has said "
            "what it means. Say so in the YAML file of DATASETS.VIDEO_FOLDERS (or to "
            "register_video_folder). If it is of a class:\n"
            f"  {as_yaml('label_mapping', answer)}\n  void: []\n"
            f"with the class of every value. If it really means no class:\n  void: {others}"
        )
        return LabelFinding("labels_one_class", "error", message)

    def all_void(self) -> LabelFinding | None:
        if self.pixels.any():
            return None
        classes = _some([self.mapping.encoding.name_of(v) for v in sorted(self.mapping.class_of)])
        message = (
            f"every pixel is void: the masks hold {self._shares()}, and none of these values is of "
            f"a class. Those of classes are {classes}. Correct label_mapping and void, or look at "
            "the masks."
        )
        return LabelFinding("labels_all_void", "error", message)

    def from_zero(self) -> LabelFinding | None:
        """0 is the first class only because nobody said otherwise; it may be a background."""
        unsaid = "label_mapping" in self.mapping.assumed
        if not unsaid or is_background(self.names[0]):
            return None
        return LabelFinding(
            "labels_from_zero", "warning", self._question("no value shows whether that is right")
        )

    def foreign_values(self) -> LabelFinding | None:
        if not self.foreign:
            return None
        return LabelFinding("labels_foreign", "warning", self._foreign_message())

    def without_value(self) -> LabelFinding | None:
        """Classes that no value is said to be of."""
        nameless = set(range(self.mapping.num_classes)) - set(self.mapping.class_of.values())
        if not nameless:
            return None
        classes = _some([self.names[k] for k in sorted(nameless)])
        void = [v for v in self.values if v in self.mapping.void]
        more = f" Of void there are {self._shares(void)}: is one of these it?" if void else ""
        message = f"label_mapping has no value for {classes}, so that it can't be learned.{more}"
        return LabelFinding("classes_without_value", "warning", message)

    def absent(self) -> LabelFinding | None:
        absent = np.flatnonzero(self.pixels == 0).tolist()
        if not 0 < len(absent) < self.mapping.num_classes:
            return None
        message = (
            f"{len(absent)} of {self.mapping.num_classes} classes never occur in these masks: "
            f"{_some([self.names[k] for k in absent])}"
        )
        is_one_left = self.mapping.num_classes - len(absent) == 1
        may_be_void = "void" in self.mapping.assumed and bool(self.histogram[IGNORE_LABEL])
        if may_be_void:
            message += (
                f". {self._shares([IGNORE_LABEL])} counts as void, since nobody has said what it "
                f"means: if it is of such a class, label_mapping names it; else void: "
                f"[{IGNORE_LABEL}]"
            )
        is_odd = 2 * len(absent) > self.mapping.num_classes or is_one_left or may_be_void
        return LabelFinding("classes_absent", "warning" if is_odd else "info", message)

    def _foreign_message(self) -> str:
        return (
            "values that stand for no class count as void: "
            f"{self._shares(self.foreign)} of the pixels. Name them in void, or in label_mapping "
            "if they are of a class."
        )

    def _no_zero_message(self) -> str:
        first, second, last, k = self.names[0], self.names[1], self.names[-1], len(self.names)
        return (
            f"the masks hold {self._shares()}, and no 0. But value k is said to be class k, from 0 "
            f"({first}) to {k - 1} ({last}), so that {k} is none. If the masks count classes from "
            f"1, {first} would be trained as {second}, and so on, and {last} would be left out. "
            f"Then say so, in the YAML file of DATASETS.VIDEO_FOLDERS (or to "
            f"register_video_folder):\n  {_counted_from_one(self.names)}\n"
            f"or, in another order, every value and its class. If {k} does mean no class, name it: "
            f"void: [{k}, 255]."
        )

    def _question(self, tell: str) -> str:
        """What 0 is, and with it all other values."""
        k, last = len(self.names), len(self.names) - 1
        shown = [
            f"{v} ({self.names[v] if v <= last else 'no class'}, {self._share(v)})"
            for v in self.values
        ]
        void = sorted({*(v for v in self.foreign if v), IGNORE_LABEL})
        as_void = f"\n  void: {void}" if 0 < len(self.foreign) <= _NAMED else ""
        last_is = f"{last} is {self.names[-1]}"
        first_class = f"  label_mapping: from_0   # 0 is {self.names[0]}, {last_is}"
        ways = f"classes that count from 0\n{first_class}{as_void}\n"
        if not is_background(self.names[0]):
            ways += (
                f"or from 1, and 0 is void\n  {_counted_from_one(self.names)}\n"
                "or 0 is a class of its own\n"
                f"  classes: [background, ...]   # {k + 1}, and so NUM_CLASSES\n"
            )
        return (
            f"what 0 and the other values mean nobody has said, so that they are taken for "
            f"{_some(shown)}: {tell}. Most programs write 0 for what nobody outlined. Say what is "
            "right, in the YAML file of DATASETS.VIDEO_FOLDERS (or to register_video_folder): "
            f"{ways}"
            "or there are more classes, or in another order, every value and its class: "
            "label_mapping: {value: class, ...}. Only a look at the masks, or the program's own "
            "list of classes, tells."
        )

    def _share(self, value: int) -> str:
        return f"{self.histogram[value] / self.histogram.sum():.2%}"

    def _shares(self, values: Sequence[int] | None = None) -> str:
        """Values, by default all that occur, and which share of all pixels each is."""
        name_of = self.mapping.encoding.name_of
        shown = self.values if values is None else values
        return _some([f"{name_of(value)} ({self._share(value)})" for value in shown])


def is_background(name: str) -> bool:
    """Whether a class is called after what nobody outlined: "_background_", "BG", "unlabelled"."""
    return "".join(filter(str.isalpha, name.casefold())) in _BACKGROUNDS


def accidental_values(histogram: np.ndarray, mapping: LabelMapping) -> list[int]:
    """Values that are of no class for certain, so that a corrected mask may lose them.

    None where nobody has said what the values mean, or where such values are more than a trifle;
    else those beyond twice the largest number of a class: the nearer ones may be classes that
    nobody has named.
    """
    classes = sorted(mapping.class_of)
    if "label_mapping" in mapping.assumed or mapping.encoding != PLAIN or not classes:
        return []
    foreign = mapping.foreign_values(np.arange(256, dtype=np.uint8))
    if histogram[foreign].sum() > _TRIFLE * histogram.sum():
        return []
    return [value for value in foreign if value > 2 * classes[-1]]


def _counted_from_one(class_names: Sequence[str]) -> str:
    named = _some([f"{k} is {name}" for k, name in enumerate(class_names, 1)])
    return f"label_mapping: from_1   # {named}, if this is their order; 0 and 255 are void"


def as_yaml(key: str, value: Any) -> str:
    """A line of YAML to paste."""
    yaml = import_library("yaml", "DATASETS.VIDEO_FOLDERS")
    text = yaml.safe_dump(
        value, default_flow_style=True, width=1 << 20, allow_unicode=True, sort_keys=False
    )
    return f"{key}: {text.strip()}"
