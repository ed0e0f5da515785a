"""What the doctor finds, and the report."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..data import LabelMapping


class Severity(Enum):
    """An error stops something or spoils results; a warning may; an info is good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """One fault of a file, a video or a dataset.

    Attributes:
        kind: what it is, such as "mask_size".
        files: the files or folders concerned, relative to the report's root.
        detail: the particulars and what to do; the words of the loader or reader, if it has any.
        stops: what it stops with an error: "loading", "training", "evaluation".
        severity: how bad it is; an error wherever it stops something.
        correctable: whether ``write_corrected_masks`` can correct the files.
        splits: the lists or registered datasets that are concerned.
        video: the video's id, None for a fault of no single video.
    """

    kind: str
    files: tuple[str, ...]
    detail: str
    stops: tuple[str, ...] = ()
    severity: Severity = Severity.WARNING
    correctable: bool = False
    splits: tuple[str, ...] = ()
    video: str | None = None

    def __post_init__(self) -> None:
        if self.stops:
            object.__setattr__(self, "severity", Severity.ERROR)


@dataclass(frozen=True)
class Report:
    """What was checked, and the findings: worst first, then by kind and file."""

    root: str  # the folder that holds all files
    splits: tuple[str, ...]  # lists or registered datasets
    label_mapping: LabelMapping
    offsets: tuple[int, ...]
    num_videos: int
    num_images: int
    seconds: float = field(compare=False)
    findings: tuple[Finding, ...]
    accidental: tuple[int, ...] = ()  # values in masks that are of no class for certain
    shares: dict[str, dict[str, float]] = field(default_factory=dict)  # dataset -> class -> 0..1

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity is severity for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON knows."""
        return vars(self) | {
            "label_mapping": {str(raw): k for raw, k in self.label_mapping.class_of.items()},
            "num_classes": self.label_mapping.num_classes,
            "images_per_second": self.num_images / self.seconds,
            "findings_by_severity": {severity.value: self.count(severity) for severity in Severity},
            "findings_by_kind": dict(Counter(finding.kind for finding in self.findings)),
            "findings": [vars(f) | {"severity": f.severity.value} for f in self.findings],
        }
