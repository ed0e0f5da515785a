"""Results of an evaluation: what is measured, under which name and in which order, and its file.

All scores are in percent, but for the official scripts' fractions. Importing this takes no time:
commands show the names in their help.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from .files import write_json

RESULTS_FILE = "vspw_results.json"
_TA, _ACCURACY = "TA", "temporal_accuracy"  # in tables, and in the file


@dataclass(frozen=True)
class Metric:
    """A score in percent.

    Attributes:
        name: as it is written in tables and curves.
        meaning: in a few words.
        place: keys that lead to it in the file of an evaluation; () where it has none.
        better: 1 where more is better, -1 where less is.
    """

    name: str
    meaning: str
    place: tuple[str, ...] = ()
    better: int = 1


def _over_pixels(name: str, meaning: str) -> Metric:
    return Metric(name, meaning, ("sem_seg", name))


MIOU = _over_pixels("mIoU", "mean intersection over union of the classes")
FWIOU = _over_pixels("fwIoU", "intersection over union, classes weighted with their pixels")
MACC = _over_pixels("mACC", "mean share of a class's pixels that are right")
PACC = _over_pixels("pACC", "share of all pixels that are right")
CLASS_IOU = "IoU-"  # and the name of a class, in ``Results.sem_seg``
MVC = "mVC"  # all of those begin with it


def mvc(n: int) -> Metric:
    """Video consistency over windows of n frames, as CFFM's script counts it."""
    return Metric(f"{MVC}{n}", video_vc(n).meaning, ("sem_seg", f"{MVC}{n}"))


def video_vc(n: int) -> Metric:
    """The same of a single video."""
    return Metric(
        f"VC{n}",
        f"of the pixels whose true label stays the same for {n} frames, the share whose prediction "
        "does; as CFFM's script counts it: void is a label, and videos of 16 frames or fewer and "
        "each video's last window are left out",
    )


def mvc_vspw(n: int) -> Metric:
    """``mvc`` as VSPW's script counts it."""
    name = f"{MVC}{n}_vspw"
    meaning = f"{MVC}{n} as VSPW's script counts it: of videos of {n + 1} to 16 frames too"
    return Metric(name, meaning, ("vc", name, "percent"))


def mvc_pooled(sizes: Sequence[int]) -> Metric:
    """``mvc_vspw`` of windows of several sizes together."""
    name = f"{MVC}{'+'.join(map(str, sizes))}"
    meaning = (
        f"the windows of {' and of '.join(map(str, sizes))} frames together; DVIS++, PMT and "
        f"VidEoMT publish it as VC{sizes[-1]}"
    )
    return Metric(name, meaning, ("vc", name, "percent"))


def strict_vc(n: int) -> Metric:
    """Video consistency that leaves out nothing but void."""
    meaning = f"the same over all windows of {n} frames, without void"
    return Metric(f"strict VC{n}", meaning, ("strict", "over_windows", f"strict_VC{n}"))


def temporal_accuracy(n: int) -> Metric:
    """Strict consistency that asks for the right prediction."""
    return Metric(
        f"{_TA}{n}",
        f"temporal accuracy: of the pixels of one class for {n} frames, the share right in all",
        ("strict", "over_windows", f"{_ACCURACY}{n}"),
    )


MVC8, MVC16 = map(mvc, (8, 16))
TA8, TA16 = map(temporal_accuracy, (8, 16))
FLICKER = Metric(
    "flicker",
    "of the pixels that have one class in two frames that follow each other, the share whose "
    "prediction changes",
    strict_vc(2).place,  # what it lacks to 100
    -1,
)
OFFICIAL = (MIOU, FWIOU, MACC, PACC, MVC8, MVC16)
METRICS = (
    *(*OFFICIAL, mvc_vspw(8), mvc_pooled((8, 16))),
    *(strict_vc(8), strict_vc(16), TA8, TA16, FLICKER),
)
PER_VIDEO = (
    Metric(MIOU.name, "of this video's frames alone, over the classes that it shows"),
    *(video_vc(8), video_vc(16), TA8, TA16, FLICKER),
)
IOU = Metric("IoU", "intersection over union")


@dataclass(frozen=True)
class Results:
    """What an evaluation measured: the content of its file, NaN where a score is undefined.

    Attributes:
        dataset: its name.
        frames: the videos' frames.
        scored_frames: those that had both ground truth and a prediction.
        sem_seg: the metrics of ``OFFICIAL``, and ``IoU-<class>`` of every class.
        videos_longer_than_16: the first four of them over these videos.
        windows: how many each mVC of ``sem_seg`` is the mean of.
        per_video: video -> its ``num_frames`` and VC.
        official: what the official scripts print, fractions under their names, and every mVC.
        vc: every mVC that is published -> its percent, its windows and its rule in words.
        strict: see ``DatasetScores.strict``.
    """

    dataset: str
    frames: int
    scored_frames: int
    sem_seg: Mapping[str, float]
    videos_longer_than_16: Mapping[str, float] = field(default_factory=dict)
    windows: Mapping[str, int] = field(default_factory=dict)
    per_video: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    official: Mapping[str, Any] = field(default_factory=dict)
    vc: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    strict: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | PathLike) -> "Results":
        """The results in a file, as evaluation and ``cffm score --json`` write it.

        Older files hold less.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or something else.
        """
        try:
            found = _with_nan(json.loads(Path(path).read_text(encoding="utf-8")))
            known = {f.name: found[f.name] for f in fields(cls) if f.name in found}
            results = cls(**known)
            results.percent[MIOU.name]
            return results
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path} is damaged, or something else: expected the results of an evaluation, "
                f"{RESULTS_FILE} of its folder inference/ ({type(error).__name__}: {error})"
            ) from error

    def write(self, path: str | PathLike) -> None:
        """Write the file, strict JSON with null for NaN. Folders are made where needed."""
        write_json(path, {f.name: getattr(self, f.name) for f in fields(self)})

    @cached_property
    def percent(self) -> dict[str, float]:
        """Name -> score of every metric of ``METRICS`` that these results have, in that order."""
        found = {}
        for metric in METRICS:
            value: Any = vars(self)
            for key in metric.place:
                value = None if value is None else value.get(key)
            if value is not None:
                found[metric.name] = 100 - float(value) if metric is FLICKER else float(value)
        return found

    def curves(self, all_vc: bool = False) -> dict[str, dict[str, float]]:
        """For detectron2: ``sem_seg``, and the temporal accuracies under ``temporal``.

        Args:
            all_vc: ``sem_seg`` has all of ``vc``.
        """
        others = {name: score["percent"] for name, score in self.vc.items()} if all_vc else {}
        classes = {k: score for k, score in self.sem_seg.items() if k.startswith(CLASS_IOU)}
        overall = {k: score for k, score in self.sem_seg.items() if k not in classes}
        temporal = {
            name.replace(_ACCURACY, _TA): score
            for name, score in self.strict["over_windows"].items()
            if name.startswith(_ACCURACY)
        }
        return {"sem_seg": overall | others | classes, "temporal": temporal}


def _with_nan(value: Any) -> Any:
    """What a file holds, with NaN for null."""
    if isinstance(value, dict):
        return {key: _with_nan(entry) for key, entry in value.items()}
    return math.nan if value is None else value
