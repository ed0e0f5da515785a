"""The report that TEST.REPORT asks for, of the predictions that an evaluation has just saved."""

from pathlib import Path

from detectron2.config import CfgNode

from .making import ReportOptions, make_report
from .sources import ReportedDataset, ReportedModel


def report_of_config(cfg: CfgNode, dataset_name: str, predictions: Path, output: Path) -> Path:
    """Report of one model on a dataset that it was evaluated on.

    Args:
        cfg: OUTPUT_DIR, TEST.REPORT_PLAYERS, DATALOADER.NUM_WORKERS and INPUT.MAX_MEGAPIXELS
            of it are used.
        dataset_name: a registered dataset.
        predictions: the folder of its predictions.
        output: the report's folder.

    Returns:
        the path of its index.html.

    Raises:
        OSError, ValueError, ModuleNotFoundError: see ``make_report``.
    """
    run = Path(cfg.OUTPUT_DIR)
    model = ReportedModel(run.resolve().name, predictions, run)
    options = ReportOptions(
        players=cfg.TEST.REPORT_PLAYERS,
        jobs=max(1, cfg.DATALOADER.NUM_WORKERS),
        max_megapixels=cfg.INPUT.MAX_MEGAPIXELS,
    )
    return make_report(ReportedDataset.registered(dataset_name), [model], output, options)
