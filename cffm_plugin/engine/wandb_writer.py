"""Curves and pictures of a training at Weights & Biases."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.utils.events import EventWriter, get_event_storage

from ..config import flat_values
from ..files import write_text
from ..libraries import import_library

RUN_ID = "wandb_run_id.txt"  # in OUTPUT_DIR


class WandbWriter(EventWriter):
    """Logs every scalar and picture of the storage of events to a run of W&B.

    The run begins with the first write. Its id stands in ``<OUTPUT_DIR>/wandb_run_id.txt``, by
    which a resumed training goes on in the same run. Curves are drawn over ``iteration``, so that
    steps which a resumed training makes again are drawn again.

    For the main process alone; before a TensorboardXWriter, which takes the pictures out of the
    storage. Who may write where is W&B's own to know (``wandb login``, WANDB_API_KEY).

    Args:
        folder: OUTPUT_DIR.
        is_resumed: whether the training goes on from a checkpoint, asked at the first write.
        config: what is shown as the run's.
        window_size: of the median that smooths losses and times, as of detectron2's writers.
        **where: ``project``, ``entity``, ``name`` and ``tags`` of the run, as of ``wandb.init``.

    Raises:
        ModuleNotFoundError: wandb is not installed.
    """

    @configurable
    def __init__(
        self,
        *,
        folder: Path,
        is_resumed: Callable[[], bool],
        config: Mapping[str, Any],
        window_size: int = 20,
        **where: Any,
    ):
        self._wandb = import_library("wandb", "WANDB.ENABLED True")
        self._folder, self._config, self._where = folder, config, where
        self._is_resumed = is_resumed
        self._window_size = window_size
        self._run: Any = None
        self._last_write = -1

    @classmethod
    def from_config(cls, cfg: CfgNode, is_resumed: Callable[[], bool]) -> dict[str, Any]:
        node = cfg.WANDB
        return {
            "folder": Path(cfg.OUTPUT_DIR),
            "is_resumed": is_resumed,
            "config": flat_values(cfg),
            "project": node.PROJECT,
            "entity": node.ENTITY or None,
            "name": node.NAME or None,
            "tags": list(node.TAGS),
        }

    def write(self) -> None:
        storage = get_event_storage()
        if self._run is None:
            self._run = self._begin()
        by_iteration: dict[int, dict[str, Any]] = {}
        latest = storage.latest_with_smoothing_hint(self._window_size)
        for name, (value, iteration) in latest.items():
            if iteration > self._last_write:
                by_iteration.setdefault(iteration, {})[name] = value
        self._last_write = max([self._last_write, *by_iteration])
        for name, picture, iteration in storage._vis_data:  # TensorboardXWriter empties it
            image = self._wandb.Image(picture.permute(1, 2, 0).numpy())
            by_iteration.setdefault(iteration, {})[name] = image
        for iteration in sorted(by_iteration):
            self._run.log({"iteration": iteration, **by_iteration[iteration]})

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
            self._run = None

    def _begin(self) -> Any:
        file = self._folder / RUN_ID
        known = file.read_text().strip() if self._is_resumed() and file.is_file() else None
        run = self._wandb.init(
            **self._where,
            dir=str(self._folder),
            id=known,
            resume="allow" if known else None,
            config=self._config,
        )
        write_text(file, f"{run.id}\n")
        run.define_metric("iteration")
        run.define_metric("*", step_metric="iteration")
        return run
