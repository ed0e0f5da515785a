"""The page of a report: its content, and how templates make HTML of it."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ..data import Dataset
from ..evaluation import DatasetScores
from ..files import finite_or_none
from ..libraries import import_library
from ..results import FLICKER, IOU, MIOU, PER_VIDEO
from ..training_metrics import METRICS_FILE
from . import curves, provenance, score_tables
from .difference_marks import FLICKERS, MARKS, WRONG_ALONE
from .flicker_strips import ROW, bars, common_top
from .folder import KIND
from .players import Player
from .sources import ReportedModel

_NEEDED_BY = "Making a report"


@dataclass
class Page:
    """All that a report says.

    Attributes:
        dataset, models, scores: what is reported; a score for each model.
        video_rows: one for each video, in the dataset's order.
        origins: of the models.
        charts: training curves.
        thumbnails: video -> its small picture, below the folder.
        players: video -> the player that it has.
        players_folder: where they are, below the folder.
        order: the metric by which they are of the worst and best videos.
        left_out: players that had no room.
        command: that made the report, or "".
        started: when it was begun, in seconds since 1970.
        seconds: that it took.
    """

    dataset: Dataset
    models: Sequence[ReportedModel]
    scores: Sequence[DatasetScores]
    video_rows: list[score_tables.Row]
    origins: Sequence[provenance.Origin]
    charts: list[curves.Chart]
    command: str
    started: float
    thumbnails: dict[int, str] = field(default_factory=dict)
    players: dict[int, Player] = field(default_factory=dict)
    players_folder: str = ""
    order: str = MIOU.name
    left_out: int = 0
    seconds: float = 0.0

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        models: Sequence[ReportedModel],
        scores: Sequence[DatasetScores],
        *,
        origins: Sequence[provenance.Origin],
        command: str,
        started: float,
    ) -> "Page":
        """The page without pictures."""
        rows = score_tables.video_rows(scores, [video["video_id"] for video in dataset.videos])
        drawn = curves.charts([_curves_of(model) for model in models])
        return cls(dataset, models, scores, rows, origins, drawn, command, started)

    @property
    def video_ids(self) -> list[str]:
        return [video["video_id"] for video in self.dataset.videos]

    def flicker(self, video: str) -> list[list[float]]:
        """Of each pair of frames, for each model; see ``score_tables.flicker_of``."""
        return [score_tables.flicker_of(of.videos[video]) for of in self.scores]

    def data(self) -> dict[str, Any]:
        """What report.json holds: all numbers, in percent."""
        summary = score_tables.summary_rows(self.scores)
        classes = score_tables.class_rows(self.scores)
        return {
            "kind": KIND,
            "dataset": self.dataset.title,
            "models": [
                {"name": model.name, "predictions": str(model.predictions)} for model in self.models
            ],
            "frames": self.scores[0].frames,
            "scored_frames": [of.scored_frames for of in self.scores],
            "summary": {metric.name: row.values[metric.name] for metric, row in summary},
            "iou": {row.title: row.values[IOU.name] for _, _, row in classes},
            "videos": {row.title: row.values for row in self.video_rows},
            "players": [self.video_ids[index] for index in self.players],
        }

    def script_data(self) -> dict[str, Any]:
        """What the page's script gets: players, and what they show."""
        content = {
            "models": [model.name for model in self.models],
            "classes": list(self.dataset.class_names),
            "colors": [css_color(color) for color in self.dataset.colors],
            "folder": self.players_folder,
            "top": common_top(
                [of for index in self.players for of in self.flicker(self.video_ids[index])]
            ),
            "windowSize": score_tables.WINDOW,
            "players": [
                {
                    "video": index,
                    "label": self._label(index),
                    "frames": _frame_names(self.dataset.videos[index]),
                    "flicker": [[_rounded(v) for v in of] for of in self._flicker(index)],
                    "windows": self._windows(index),
                    **player.data(),
                }
                for index, player in self.players.items()
            ],
        }
        return finite_or_none(content)

    def _windows(self, index: int) -> list[int]:
        """First frames of a video's worst windows, worst first."""
        found = score_tables.worst_windows(self.scores, [self.video_ids[index]])
        return [window.first for window in found]

    def _label(self, index: int) -> str:
        """A video's name, and why it has a player."""
        metric = next(m for m in PER_VIDEO if m.name == self.order)
        row = self.video_rows[index]
        if len(self.models) == 1:
            return f"{row.title} ({self.order} {number(row.values[self.order][0])})"
        found = [d for d in row.differences(self.order)[1:] if not math.isnan(d)]
        most = max(found, key=lambda d: (abs(d), d * metric.better), default=math.nan)
        return f"{row.title} ({self.order} {signed(most) or number(most)})"

    def _flicker(self, index: int) -> list[list[float]]:
        return self.flicker(self.video_ids[index])


def check_jinja() -> None:
    """
    Raises:
        ModuleNotFoundError: jinja2 is not installed; the error says how to get it.
    """
    import_library("jinja2", _NEEDED_BY)


def render(page: Page) -> str:
    """The HTML of a page, with its style and script in it. All text in it is escaped."""
    jinja2 = import_library("jinja2", _NEEDED_BY)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cffm_plugin.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "signed": signed,
        "color": css_color,
        "moment": _moment,
    }
    markup = import_library("markupsafe", _NEEDED_BY).Markup
    files = resources.files("cffm_plugin.report") / "templates"
    style, script = (
        markup((files / name).read_text(encoding="utf-8")) for name in ("report.css", "report.js")
    )
    strip_top = common_top([of for video in page.video_ids for of in page.flicker(video)])
    return environment.get_template("index.html.jinja").render(
        page=page,
        style=style,
        script=script,
        metrics=PER_VIDEO,
        flicker_metric=FLICKER,
        iou=IOU,
        summary=score_tables.summary_rows(page.scores),
        classes=score_tables.class_rows(page.scores),
        windows=score_tables.worst_windows(page.scores, page.video_ids),
        window_size=score_tables.WINDOW,
        marks=MARKS if len(page.models) > 1 else (WRONG_ALONE, FLICKERS),
        strip_top=strip_top,
        strip_row=ROW,
        strips=[[bars(of, strip_top) for of in page.flicker(v)] for v in page.video_ids],
        chart_size=(curves.WIDTH, curves.HEIGHT),
        versions=provenance.versions(),
        differing_keys=provenance.differing_keys(page.origins),
        script_data=page.script_data(),
    )


def number(value: float, digits: int = 2) -> str:
    """A value with so many digits; a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign; empty for NaN."""
    return "" if math.isnan(value) else f"{value:+.{digits}f}".replace("-", "−")


def css_color(color: Iterable[int]) -> str:
    """(R, G, B), 0..255 -> "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def _rounded(value: float) -> float:
    return round(value, 3)


def _frame_names(video: Mapping[str, Any]) -> list[str]:
    return [Path(frame["file_name"]).stem for frame in video["frames"]]


def _curves_of(model: ReportedModel) -> dict[str, curves.Curve]:
    file = None if model.run is None else model.run / METRICS_FILE
    return curves.read_curves(file) if file is not None and file.is_file() else {}


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))
