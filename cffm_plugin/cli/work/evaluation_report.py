"""The reports that TEST.REPORT asks for, after a training or an evaluation has ended.

They score the saved predictions again. What an evaluation leaves has neither windows of two frames,
which flicker is, nor the scores of every window and each video's mIoU, which the page shows; and in
memory its scores are in a process of several that has ended by then.
"""

import logging
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from detectron2.config import CfgNode

from ...config import absolute_path
from ...data import Dataset
from ...engine import output_folder_of
from ...job_spec import JobSpec
from ...libraries import import_library
from ...report import ReportedModel, ReportOptions, make_report

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationReports:
    """The reports of an evaluation.

    Attributes:
        are_wanted: TEST.REPORT.
        predictions_are_saved: TEST.SAVE_PREDICTIONS.
        players: videos with players, see ``ReportOptions``.
        spec: with absolute paths, where they are made.
    """

    are_wanted: bool
    predictions_are_saved: bool
    players: int
    spec: JobSpec

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "EvaluationReports":
        node = cfg.TEST
        spec = JobSpec.from_config(cfg)
        spec = replace(
            spec,
            output_dir=absolute_path(spec.output_dir),
            video_folders=tuple(map(absolute_path, spec.video_folders)),
        )
        return cls(node.REPORT, node.SAVE_PREDICTIONS, node.REPORT_PLAYERS, spec)

    def check(self) -> None:
        """Whether what is wanted can be done; to be called before the work.

        Raises:
            ValueError: predictions are not saved.
            ModuleNotFoundError: jinja2 is not installed.
        """
        if not self.are_wanted:
            return
        if not self.predictions_are_saved:
            raise ValueError(
                "TEST.REPORT True makes a report of saved predictions, but TEST.SAVE_PREDICTIONS "
                "is False. Set TEST.SAVE_PREDICTIONS True as well."
            )
        import_library("jinja2", "TEST.REPORT")

    def make(self) -> None:
        """One for every dataset of DATASETS.TEST, which this process has registered; or say how to
        make them.

        Raises:
            OSError, ValueError: see ``make_report``.
        """
        for name in self.spec.test:
            if self.are_wanted:
                logger.info("The report on %s is %s", name, self._make(name))
            elif self.predictions_are_saved:
                logger.info("A report on %s: %s", name, shlex.join(self._command(name)))
        if self.spec.test and not self.predictions_are_saved:
            logger.info(
                "A report of an evaluation, a page to look at: evaluate with "
                "TEST.SAVE_PREDICTIONS True TEST.REPORT True"
            )

    def _make(self, name: str) -> Path:
        run = Path(self.spec.output_dir)
        predictions = output_folder_of(self.spec, "inference", name) / "result_submission"
        return make_report(
            Dataset.registered(name, self.spec.max_megapixels),
            [ReportedModel(run.resolve().name, predictions, run)],
            output_folder_of(self.spec, "report", name),
            ReportOptions(self.players, jobs=max(1, self.spec.num_workers)),
        )

    def _command(self, name: str) -> list[str]:
        folders = self.spec.video_folders
        return [
            *("cffm", "report", "--dataset", name),
            *(("--video-folders", *folders) if folders else ()),
            *("--predictions", self.spec.output_dir),
            *("--output", str(output_folder_of(self.spec, "report", name))),
        ]
