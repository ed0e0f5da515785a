"""Reports after evaluation, TEST.REPORT.

Reports are a leaf that nothing here imports. Who starts a job passes what makes them, as
tools/train_net.py does; here is when it is called, and of what.
"""

import logging
import shlex
from collections.abc import Callable
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils import comm

from ..libraries import import_library

# (config, name of a dataset, folder of its predictions, folder of the report) -> its index.html;
# cffm_plugin.report.report_of_config
MakeReport = Callable[[CfgNode, str, Path, Path], Path]

logger = logging.getLogger(__name__)


def inference_folder(cfg: CfgNode, dataset_name: str) -> Path:
    """Where the results of an evaluation on a dataset go, and below it the predictions."""
    return _for_dataset(cfg, "inference", dataset_name)


def check_report(cfg: CfgNode, make_report: MakeReport | None) -> None:
    """Whether what TEST.REPORT asks for can be done; to be called before the work.

    Raises:
        ValueError: predictions are not saved, or nothing that makes reports was passed.
        ModuleNotFoundError: jinja2 is not installed.
    """
    if not cfg.TEST.REPORT:
        return
    if not cfg.TEST.SAVE_PREDICTIONS:
        raise ValueError(
            "TEST.REPORT True makes a report of saved predictions, but TEST.SAVE_PREDICTIONS is "
            "False. Set TEST.SAVE_PREDICTIONS True as well."
        )
    if make_report is None:
        raise ValueError(
            "TEST.REPORT True needs what makes reports, which this program has not passed: call "
            "main(args, report=cffm_plugin.report.report_of_config), as tools/train_net.py does; "
            "or set TEST.REPORT False and make the report with cffm report."
        )
    import_library("jinja2", "TEST.REPORT")


def report_evaluation(cfg: CfgNode, make_report: MakeReport | None) -> None:
    """Make the reports that TEST.REPORT asks for, or say how to make them; in every process.

    The main process makes them, and the others wait for it, so that it does not miss them.
    """
    if comm.is_main_process() and len(cfg.DATASETS.TEST):
        if cfg.TEST.REPORT:
            assert make_report is not None  # check_report has seen to it
            for name in cfg.DATASETS.TEST:
                predictions = inference_folder(cfg, name) / "result_submission"
                index = make_report(cfg, name, predictions, _for_dataset(cfg, "report", name))
                logger.info("The report on %s is %s", name, index)
        elif cfg.TEST.SAVE_PREDICTIONS:
            for name in cfg.DATASETS.TEST:
                logger.info("A report on %s: %s", name, shlex.join(_command(cfg, name)))
        else:
            logger.info(
                "A report of an evaluation, a page to look at: evaluate with "
                "TEST.SAVE_PREDICTIONS True TEST.REPORT True"
            )
    comm.synchronize()


def _command(cfg: CfgNode, name: str) -> list[str]:
    folders = ["--video-folders", *cfg.DATASETS.VIDEO_FOLDERS] if cfg.DATASETS.VIDEO_FOLDERS else []
    return [
        *("cffm", "report", "--dataset", name, *folders),
        *("--predictions", str(cfg.OUTPUT_DIR)),
        *("--output", str(_for_dataset(cfg, "report", name))),
    ]


def _for_dataset(cfg: CfgNode, folder: str, name: str) -> Path:
    below = Path(cfg.OUTPUT_DIR, folder)
    return below / name if len(cfg.DATASETS.TEST) > 1 else below
