"""Making a report: scores, pictures within a budget, one page."""

import functools
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from tqdm import tqdm

from ..constants import MAX_MEGABYTES, PLAYER_WIDTH, PLAYERS
from ..data import Dataset
from ..evaluation import DatasetScores, score_predictions
from ..evaluation.predictions import map_in_processes
from ..files import json_text, write_json, write_text
from ..results import PER_VIDEO
from . import score_tables
from .folder import ReportFolder, size_of
from .page import Page, check_jinja, render
from .players import Player, PlayerJob, write_player, write_thumbnail
from .provenance import origin_of
from .sources import ReportedModel

THUMBNAIL_WIDTH = 96
MEGABYTE = 1_000_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportOptions:
    """What a report has beside its numbers, and how predictions are read.

    Attributes:
        players: the number of worst and of best videos that get players; 0 for none.
        max_megabytes: the folder's size that no player exceeds, in millions of bytes.
        player_width: frames of players are at most this wide, in pixels.
        order: a metric of ``PER_VIDEO`` that says which videos are worst and best.
        one_based, partial, jobs, progress: see ``score_predictions``.
        command: what to say that the report was made with; empty for nothing.
    """

    players: int = PLAYERS
    max_megabytes: float = MAX_MEGABYTES
    player_width: int = PLAYER_WIDTH
    order: str = PER_VIDEO[0].name
    one_based: bool = False
    partial: bool = False
    jobs: int = 1
    progress: bool = False
    command: str = ""

    def check(self) -> None:
        """
        Raises:
            ValueError: a value is out of range.
        """
        orders = [metric.name for metric in PER_VIDEO]
        if self.order not in orders:
            raise ValueError(f"order must be one of {', '.join(orders)}; got {self.order!r}")
        if self.players < 0:
            raise ValueError(f"players must be at least 0, got {self.players}")
        if not self.max_megabytes > 0:
            raise ValueError(f"max_megabytes must be above 0, got {self.max_megabytes}")
        if self.player_width < 16:
            raise ValueError(f"player_width must be at least 16 pixels, got {self.player_width}")


def make_report(
    dataset: Dataset,
    models: Sequence[ReportedModel],
    output: str | PathLike,
    options: ReportOptions | None = None,
) -> Path:
    """Score predictions and write ``<output>/index.html``, its pictures, and ``report.json``.

    A report that stood there is replaced when the new one is complete.

    Args:
        dataset: what the predictions are of.
        models: at least one. The first is the baseline that the others are compared with.
        output: a new or empty folder, or one that holds a report.
        options: the defaults where it is None.

    Returns:
        the path of index.html.

    Raises:
        FileExistsError: the folder holds something else.
        ModuleNotFoundError: jinja2 is not installed.
        ValueError: there is no model, two have one name, or an option is out of range; predictions
            are missing or do not fit (see ``score_predictions``), or an image is damaged.
        OSError: a file can't be read or written.
    """
    options = options or ReportOptions()
    options.check()
    _check_models(models)
    check_jinja()
    started = time.time()
    with ReportFolder(Path(output).expanduser()) as folder:
        scores = [_score(dataset, model, options) for model in models]
        page = Page.of(
            *(dataset, models, scores),
            origins=[origin_of(model, of) for model, of in zip(models, scores)],
            command=options.command,
            started=started,
        )
        for origin in page.origins:
            if origin.warning:
                logger.warning("%s", origin.warning)
        if options.players:
            page.thumbnails = _write_thumbnails(dataset, folder, options)
        _add_players(page, folder, options)
        page.seconds = time.time() - started
        write_json(folder.data, page.data())
        write_text(folder.index, render(page))
        folder.keep()
    logger.info("%s: %.1f MB", folder.index, size_of(folder.path) / MEGABYTE)
    return folder.index


def _check_models(models: Sequence[ReportedModel]) -> None:
    if not models:
        raise ValueError("A report needs the predictions of one model at least.")
    names = [model.name for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"Two models are called {', '.join(twice)}. Name them apart: NAME=FOLDER for each."
        )


def _score(dataset: Dataset, model: ReportedModel, options: ReportOptions) -> DatasetScores:
    return score_predictions(
        dataset,
        model.predictions,
        window_sizes=score_tables.WINDOW_SIZES,
        one_based=options.one_based,
        partial=options.partial,
        jobs=options.jobs,
        progress=options.progress,
    )


def _write_thumbnails(
    dataset: Dataset, folder: ReportFolder, options: ReportOptions
) -> dict[int, str]:
    """Video -> the name of a picture of its middle frame, below the folder."""
    written = {}
    for index, video in enumerate(
        tqdm(dataset.videos, unit="thumbnail", disable=None if options.progress else True)
    ):
        frame = video["frames"][len(video["frames"]) // 2]
        name = f"{folder.pictures.name}/thumbnails/{index}.webp"
        target = folder.path / name
        write_thumbnail(frame["file_name"], target, THUMBNAIL_WIDTH, dataset.max_megapixels)
        written[index] = name
    return written


def _add_players(page: Page, folder: ReportFolder, options: ReportOptions) -> None:
    """Players of the worst and best videos, as many as the budget holds."""
    page.order = options.order
    page.players_folder = f"{folder.pictures.name}/players"
    metric = next(m for m in PER_VIDEO if m.name == options.order)
    chosen = score_tables.worst_and_best(page.video_rows, metric, options.players)
    if not chosen:
        return
    budget = options.max_megabytes * MEGABYTE
    _paint_players(page, folder, options, chosen, budget)
    while page.players and _size(page, folder) > budget:  # what is said of players takes room too
        index, _ = page.players.popitem()
        shutil.rmtree(_player_folder(folder.pictures, index))
    page.left_out = len(chosen) - len(page.players)
    if page.left_out:
        logger.warning(
            "%s: %d of %d players; the others were left out, since the report would be larger than "
            "%g MB. A larger --max-megabytes or a smaller --player-width makes room.",
            *(folder.path, len(page.players), len(chosen), options.max_megabytes),
        )


def _paint_players(
    page: Page, folder: ReportFolder, options: ReportOptions, chosen: list[int], budget: float
) -> None:
    """Paint players, in this order, until their pictures exceed the budget."""
    jobs = [_job(page, index, options) for index in chosen]
    write = functools.partial(_write, folder.pictures)
    used = _size(page, folder)
    try:
        with (
            map_in_processes(min(options.jobs, len(jobs))) as map_videos,
            tqdm(total=len(jobs), unit="player", disable=None if options.progress else True) as bar,
        ):
            for index, player in zip(chosen, map_videos(write, zip(chosen, jobs))):
                used += player.num_bytes
                if used > budget:
                    raise _BudgetUsedError
                page.players[index] = player
                bar.update()
    except _BudgetUsedError:
        for index in set(chosen) - page.players.keys():
            shutil.rmtree(_player_folder(folder.pictures, index), ignore_errors=True)


class _BudgetUsedError(Exception):
    """No further player has room."""


def _size(page: Page, folder: ReportFolder) -> int:
    """Bytes that the report would have now."""
    pictures = size_of(folder.pictures)
    return pictures + len(render(page).encode()) + len(json_text(page.data()).encode())


def _job(page: Page, index: int, options: ReportOptions) -> PlayerJob:
    video = page.dataset.videos[index]
    frames = video["frames"]
    return PlayerJob(
        video_id=video["video_id"],
        frames=tuple((frame["file_name"], frame["sem_seg_file_name"]) for frame in frames),
        predictions=tuple(model.predictions for model in page.models),
        mapping=page.dataset.label_mapping,
        colors=page.dataset.colors,
        one_based=options.one_based,
        partial=options.partial,
        width=options.player_width,
        max_megapixels=page.dataset.max_megapixels,
    )


def _player_folder(pictures: Path, index: int) -> Path:
    # By number: a file named after a video might be named anything.
    return pictures / "players" / str(index)


def _write(pictures: Path, numbered: tuple[int, PlayerJob]) -> Player:
    index, job = numbered
    return write_player(job, _player_folder(pictures, index))
