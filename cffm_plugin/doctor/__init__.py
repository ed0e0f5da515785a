"""A doctor for datasets: reads every frame and mask and says what is amiss.

``check_dataset`` never stops at a fault and never writes. ``write_corrected_masks`` writes what can
be corrected into another folder. ``cffm check`` is the command line.
"""

from .check import check_dataset
from .correction import check_correction_folder, write_corrected_masks
from .findings import Finding, Report, Severity

__all__ = [
    "Finding",
    "Report",
    "Severity",
    "check_correction_folder",
    "check_dataset",
    "write_corrected_masks",
]
