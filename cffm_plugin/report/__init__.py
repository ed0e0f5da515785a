"""Reports of evaluations: one folder of HTML that opens from the disk, with numbers and players."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .making import ReportOptions, make_report
from .sources import ReportedModel, find_model

__all__ = [
    "ReportOptions",
    "ReportedModel",
    "find_model",
    "make_report",
]
