"""What a report is of: a dataset, and models that left predictions for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ..data import (
    LabelMapping,
    common_label_mapping,
    load_vspw,
    loader_of,
    names_and_colors,
    videos_of,
)
from ..data.datasets.vspw_classes import voc_colors
from ..evaluation import (
    DatasetScores,
    score_dataset_predictions,
    score_predictions,
    vspw_class_names,
)

Color = tuple[int, int, int]
_SUBMISSION = "result_submission"


@dataclass(frozen=True)
class ReportedDataset:
    """The dataset that predictions are compared with.

    Attributes:
        name: for people to read.
        class_names: K names.
        colors: (R, G, B) of every class, 0..255.
        mapping: from the values in its masks to classes.
        videos: one record per video, as ``videos_of`` gives them.
        place: root and split of a folder in VSPW's layout; None where ``name`` is registered.
    """

    name: str
    class_names: tuple[str, ...]
    colors: tuple[Color, ...]
    mapping: LabelMapping
    videos: Sequence[Mapping[str, Any]]
    place: tuple[Path, str] | None = None

    @classmethod
    def registered(cls, name: str) -> "ReportedDataset":
        """A registered dataset.

        Raises:
            ValueError: there is none of this name, or it has no label mapping.
            OSError: its files can't be read.
        """
        videos = videos_of(name, loader_of(name)())
        mapping = common_label_mapping([name])
        names, colors = names_and_colors([name], mapping.num_classes)
        return cls(name, tuple(names), tuple(colors), mapping, videos)

    @classmethod
    def in_folder(
        cls, root: str | PathLike, split: str, num_classes: int = 124
    ) -> "ReportedDataset":
        """A folder in VSPW's layout, see ``score_predictions``.

        Raises:
            OSError, ValueError: see ``load_vspw``.
        """
        root = Path(root).expanduser()
        videos = load_vspw(root, split, is_train=True)
        _, colors = names_and_colors(["vspw_val"], num_classes)
        return cls(
            f"{root.name} {split}",
            tuple(vspw_class_names(num_classes)),
            tuple(colors or voc_colors(num_classes)),
            LabelMapping.shifted_by_one(num_classes),
            videos,
            (root, split),
        )

    def score(self, predictions: Path, **options: Any) -> DatasetScores:
        """Of a folder of predictions; ``options`` are those of ``score_dataset_predictions``.

        Raises:
            OSError, ValueError: see there; predictions that are missing are named.
        """
        if self.place is None:
            return score_dataset_predictions(self.name, predictions, **options)
        root, split = self.place
        num_classes = self.mapping.num_classes
        return score_predictions(root, split, predictions, num_classes=num_classes, **options)


@dataclass(frozen=True)
class ReportedModel:
    """A model that is reported of.

    Attributes:
        name: for people to read.
        predictions: the folder with <video>/<frame>.png.
        run: the output folder of its training or evaluation, if it is known.
    """

    name: str
    predictions: Path
    run: Path | None = None


def find_model(text: str, dataset: str) -> ReportedModel:
    """A model by ``NAME=FOLDER``, or by a folder that it is named after.

    The folder is one of predictions, or the output folder of a training or evaluation that was run
    with TEST.SAVE_PREDICTIONS, or what lies between.

    Args:
        text: as on a command line.
        dataset: its registered name, which evaluations of several datasets name folders after.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the name is empty; or it is the folder of a run that saved no predictions.
    """
    name, separator, path = text.partition("=")
    if not separator or Path(text).expanduser().is_dir():
        name, path = "", text
    elif not name.strip() or not path:
        raise ValueError(f"{text!r}: expected NAME=FOLDER, such as cffm=output/cffm.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder of predictions.")
    predictions = next((f for f in _below(folder, dataset) if f.is_dir()), folder)
    run = _run_of(predictions)
    if predictions == folder and _is_run(folder):
        raise ValueError(
            f"{folder} is the folder of a training or evaluation that saved no predictions of "
            f"{dataset}: looked for {_below(folder, dataset)[0]} and the like. Evaluate it again "
            "with TEST.SAVE_PREDICTIONS True."
        )
    named_after = run if run is not None else folder
    return ReportedModel(name.strip() or named_after.resolve().name, predictions, run)


def _below(folder: Path, dataset: str) -> list[Path]:
    """Where predictions may lie in a folder."""
    # A dataset's name may hold anything; a path of it that leads elsewhere is not looked at.
    own = [dataset] if Path(dataset).name == dataset else []
    places = [folder / "inference", *(folder / "inference" / name for name in own)]
    places += [folder, *(folder / name for name in own)]
    return [place / _SUBMISSION for place in places]


def _run_of(predictions: Path) -> Path | None:
    """The output folder that predictions lie in, as evaluation puts them there."""
    resolved = predictions.resolve()
    if resolved.name != _SUBMISSION:
        return None
    for parent in resolved.parents[:2]:
        if parent.name == "inference":
            return parent.parent
    return None


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.yaml", "metrics.json"))
