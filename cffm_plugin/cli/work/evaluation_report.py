"""The reports that TEST.REPORT asks for, after a training or an evaluation has ended.

They score the saved predictions again. What an evaluation leaves has neither windows of two frames,
which flicker is, nor the scores of every window and each video's mIoU, which the page shows; and in
memory its scores are in a process of several that has ended by then.
"""

import logging
import shlex
from pathlib import Path

from detectron2.config import CfgNode

from ...data import Dataset
from ...engine import output_folder_of
from ...libraries import import_library
from ...report import ReportedModel, ReportOptions, make_report

logger = logging.getLogger(__name__)


def check_report(cfg: CfgNode) -> None:
    """Whether what TEST.REPORT asks for can be done; to be called before the work.

    Raises:
        ValueError: predictions are not saved.
        ModuleNotFoundError: jinja2 is not installed.
    """
    if not cfg.TEST.REPORT:
        return
    if not cfg.TEST.SAVE_PREDICTIONS:
        raise ValueError(
            "TEST.REPORT True makes a report of saved predictions, but TEST.SAVE_PREDICTIONS is "
            "False. Set TEST.SAVE_PREDICTIONS True as well."
        )
    import_library("jinja2", "TEST.REPORT")


def report_evaluation(cfg: CfgNode) -> None:
    """Make a report on every dataset of DATASETS.TEST, or say how to make them.

    Args:
        cfg: with absolute paths, of an evaluation in this process, which registered the datasets.

    Raises:
        OSError, ValueError: see ``make_report``.
    """
    for name in cfg.DATASETS.TEST:
        if cfg.TEST.REPORT:
            logger.info("The report on %s is %s", name, _make(cfg, name))
        elif cfg.TEST.SAVE_PREDICTIONS:
            logger.info("A report on %s: %s", name, shlex.join(_command(cfg, name)))
    if len(cfg.DATASETS.TEST) and not cfg.TEST.SAVE_PREDICTIONS:
        logger.info(
            "A report of an evaluation, a page to look at: evaluate with "
            "TEST.SAVE_PREDICTIONS True TEST.REPORT True"
        )


def _make(cfg: CfgNode, name: str) -> Path:
    run = Path(cfg.OUTPUT_DIR)
    predictions = output_folder_of(cfg, "inference", name) / "result_submission"
    return make_report(
        Dataset.registered(name, cfg.INPUT.MAX_MEGAPIXELS),
        [ReportedModel(run.resolve().name, predictions, run)],
        output_folder_of(cfg, "report", name),
        ReportOptions(cfg.TEST.REPORT_PLAYERS, jobs=max(1, cfg.DATALOADER.NUM_WORKERS)),
    )


def _command(cfg: CfgNode, name: str) -> list[str]:
    folders = ["--video-folders", *cfg.DATASETS.VIDEO_FOLDERS] if cfg.DATASETS.VIDEO_FOLDERS else []
    return [
        *("cffm", "report", "--dataset", name, *folders),
        *("--predictions", cfg.OUTPUT_DIR),
        *("--output", str(output_folder_of(cfg, "report", name))),
    ]
