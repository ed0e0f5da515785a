"""A doctor for datasets in VSPW's layout: reads every file and says what is amiss.

``check_dataset`` never stops at a fault and never writes. ``write_corrected_masks`` writes what can
be corrected into another folder. ``tools/check_vspw.py`` is the command line.
"""

from .check import check_dataset
from .correction import Corrections, check_correction_folder, write_corrected_masks
from .findings import Effect, Finding, Kind, Report, Severity, counted
from .text import details, summary_table

__all__ = [
    "Corrections",
    "Effect",
    "Finding",
    "Kind",
    "Report",
    "Severity",
    "check_correction_folder",
    "check_dataset",
    "counted",
    "details",
    "summary_table",
    "write_corrected_masks",
]
