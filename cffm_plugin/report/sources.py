"""What a report is of: models that left predictions for a dataset."""

from dataclasses import dataclass
from pathlib import Path

from ..training_metrics import METRICS_FILE

_SUBMISSION = "result_submission"


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
    return any((folder / name).is_file() for name in ("config.yaml", METRICS_FILE))
