"""A dataset of videos, registered or in a folder: what reads one takes this."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from .classes import label_mapping_of, names_and_colors, numbered_classes, stated_mapping
from .clip_records import Record
from .datasets.records import Problem, loader_of, videos_of
from .datasets.vspw import load_vspw
from .datasets.vspw_classes import VSPW_CLASSES, voc_colors
from .image_opening import DEFAULT_MAX_MEGAPIXELS, check_max_megapixels
from .images import LabelMapping

Color = tuple[int, int, int]
_MOST_CLASSES = 254  # what 8 bits hold beside the two values of void


@dataclass(frozen=True, eq=False)
class Dataset:
    """Videos, what the values in their masks mean, and how large an image may be.

    Attributes:
        name: in results and messages.
        title: of a page.
        load: gives the records, of videos or of frames.
        class_names: K names.
        colors: (R, G, B) of every class, 0..255.
        mapping: from the values in masks to classes; None where nobody has said it.
        max_megapixels: larger frames and masks, and predictions of them, are errors.
    """

    name: str
    title: str
    load: Callable[..., list[Record]]
    class_names: tuple[str, ...]
    colors: tuple[Color, ...]
    mapping: LabelMapping | None
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        check_max_megapixels(self.max_megapixels)

    @classmethod
    def registered(cls, name: str, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS) -> "Dataset":
        """A dataset that detectron2 knows. Classes that nobody has named are called by numbers.

        Raises:
            ValueError: no dataset of this name is registered.
        """
        load, mapping = loader_of(name), label_mapping_of(name)
        num_classes = 0 if mapping is None else mapping.num_classes
        names, colors = names_and_colors([name], num_classes)
        if not names:
            numbered = numbered_classes(num_classes)
            names, colors = [name for name, _ in numbered], [color for _, color in numbered]
        return cls(name, name, load, tuple(names), tuple(colors), mapping, max_megapixels)

    @classmethod
    def in_folder(
        cls,
        root: str | PathLike,
        split: str,
        num_classes: int | None = None,
        max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    ) -> "Dataset":
        """A split of a folder in VSPW's layout, registered or not.

        Args:
            root, split: see ``load_vspw``.
            num_classes: K, 1 to 254, by default VSPW's 124. 124 classes have VSPW's names, others
                are class_0, class_1, ...
            max_megapixels: see the class.

        Raises:
            ValueError: ``num_classes`` or ``max_megapixels`` is out of range.
        """
        root = Path(root).expanduser()
        num_classes = len(VSPW_CLASSES) if num_classes is None else num_classes
        if not 1 <= num_classes <= _MOST_CLASSES:
            raise ValueError(f"num_classes must be 1 to {_MOST_CLASSES}, got {num_classes}")
        is_vspw = num_classes == len(VSPW_CLASSES)
        return cls(
            f"{root / split}.txt",
            f"{root.name} {split}",
            functools.partial(load_vspw, root, split),
            VSPW_CLASSES if is_vspw else tuple(f"class_{k}" for k in range(num_classes)),
            tuple(voc_colors(num_classes)),
            LabelMapping.shifted_by_one(num_classes),
            max_megapixels,
        )

    @property
    def label_mapping(self) -> LabelMapping:
        """From the values in its masks to classes.

        Raises:
            ValueError: nobody has said it.
        """
        return stated_mapping(self.name, self.mapping)

    @functools.cached_property
    def videos(self) -> list[dict[str, Any]]:
        """One record per video, ``video_id`` and ``frames``. They are loaded when first asked for.

        Raises:
            OSError, ValueError: a file is missing or damaged, or the records are of no videos.
        """
        return videos_of(self.name, self.load())

    def load_noting(self) -> tuple[list[Record], list[Problem]]:
        """The records, as far as they can be had, and what is amiss.

        A loader that takes ``note`` goes on after what it notes. The error of any other one is the
        only problem, of kind "loading_failed", and there are no records.
        """
        problems = list[Problem]()
        takes_note = "note" in inspect.signature(self.load).parameters
        try:
            return self.load(note=problems.append) if takes_note else self.load(), problems
        except (OSError, ValueError) as error:
            return [], [*problems, Problem("loading_failed", (), error)]
