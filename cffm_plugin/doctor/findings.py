"""What the doctor can find, what the code will do about it, and the report."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

_ARCHIVE = "restore it from the dataset's archive"


class Severity(Enum):
    """An error stops something or spoils results; a warning may; an info is good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Effect(Enum):
    """What this package does about a fault, as if there were no other."""

    LOADING_STOPS = (Severity.ERROR, "loading the split stops with an error")
    TRAINING_CANNOT_START = (Severity.ERROR, "training stops with an error before it starts")
    TRAINING_STOPS = (Severity.ERROR, "training stops with an error at the first clip with it")
    EVALUATION_STOPS = (Severity.ERROR, "evaluation stops with an error when it comes to it")
    READ_ANYWAY = (Severity.ERROR, "it is read without an error, whatever its pixels have become")
    LEFT_OUT_OF_TRAINING = (Severity.WARNING, "training leaves the video out; the log names it")
    COUNTED_AS_VOID = (Severity.WARNING, "counted as void (255); the log says so once per video")
    FRAMES_STRETCHED = (Severity.WARNING, "a clip's frames are stretched to its target's size")
    SCORED_AFTER_TRAINING = (Severity.WARNING, "evaluation scores frames that training has seen")
    SCORED_IN_EACH = (Severity.WARNING, "its frames are scored in each of the splits")
    NEVER_DRAWN = (Severity.WARNING, "training does not read it: no clip takes it")
    MASK_NOT_READ = (Severity.WARNING, "the mask is never read")
    NOT_IN_VC = (Severity.INFO, "counts in mIoU, but not in VC")
    VIDEO_NOT_READ = (Severity.INFO, "the video is never read")

    def __init__(self, severity: Severity, sentence: str):
        self.severity = severity
        self.sentence = sentence


class Kind(Enum):
    """A kind of fault. Frames are the files in ``origin``."""

    LIST_MISSING = ("a split has no list", "restore the list, or check without that split")
    LIST_EMPTY = ("a list names no video", "restore the list, or check without that split")
    LIST_UNREADABLE = ("a list can't be read", "save it as UTF-8 text that you may read")
    ID_LISTED_TWICE = ("a list names a video more than once", "keep one of the lines")
    ID_IN_TWO_SPLITS = ("a video is in more than one split", "keep it in one of the lists")
    VIDEO_MISSING = ("a listed video has no folder", f"{_ARCHIVE}, or take it off the list")
    VIDEO_UNREADABLE = ("a video's folder can't be read", "check its permissions and the disk")
    VIDEO_UNLISTED = ("a video is in no list", "nothing, or add it to a list")
    NO_FRAMES = ("a video has no frames", f"{_ARCHIVE}, or take it off the list")
    FRAME_IN_TWO_FILES = ("two files are the same frame", "keep one of the files")
    FRAME_EMPTY = ("a frame of zero bytes", _ARCHIVE)
    FRAME_DAMAGED = ("a truncated or damaged frame", _ARCHIVE)
    FRAME_NOT_AN_IMAGE = ("a frame is no image", _ARCHIVE)
    FRAME_UNREADABLE = ("a frame can't be opened", "check links, permissions and the disk")
    FRAME_SIZES_DIFFER = ("a video's frames differ in size", "bring them to one size, masks too")
    MASK_MISSING = ("a frame has no mask", f"{_ARCHIVE}, or remove the frame")
    MASK_WITHOUT_FRAME = ("a mask has no frame", "restore the frame, or remove the mask")
    MASK_EMPTY = ("a mask of zero bytes", _ARCHIVE)
    MASK_DAMAGED = ("a truncated or damaged mask", _ARCHIVE)
    MASK_NOT_AN_IMAGE = ("a mask is no image", _ARCHIVE)
    MASK_UNREADABLE = ("a mask can't be opened", "check links, permissions and the disk")
    MASK_COLOUR = ("a mask is a colour picture", "map its colours back to class numbers")
    MASK_16_BIT = ("a mask has more than 8 bits", "map its values to class numbers up to 255")
    MASK_SIZE = ("a mask is not of its frame's size", "find out which of the two is right")
    MASK_FOREIGN_VALUES = ("values that stand for no class", "check the number of classes")
    NO_CLIP = ("no training video has a clip", "use longer videos, or frame offsets nearer to 0")
    TOO_SHORT_FOR_CLIP = ("a training video is shorter than a clip", "nothing, or use a longer one")
    TOO_SHORT_FOR_VC = ("a video is too short for VC", "nothing, or use a longer one")

    def __init__(self, title: str, remedy: str):
        self.title = title
        self.remedy = remedy


@dataclass(frozen=True)
class Finding:
    """One fault of one video or list, in all the files that have it in the same way.

    Attributes:
        kind: what it is.
        effects: what training and evaluation do about it.
        files: the files, folders or lists concerned, relative to the dataset's root.
        detail: the particulars.
        splits: the splits that the files are in.
        video: the video's id, None for a list.
        pixels: for foreign values, value -> number of pixels in all the files.
        correctable: whether ``write_corrected_masks`` can correct the files.
    """

    kind: Kind
    effects: tuple[Effect, ...]
    files: tuple[str, ...]
    detail: str
    splits: tuple[str, ...] = ()
    video: str | None = None
    pixels: dict[int, int] = field(default_factory=dict)
    correctable: bool = False

    @property
    def severity(self) -> Severity:
        """That of its worst effect."""
        present = {effect.severity for effect in self.effects}
        return next(severity for severity in Severity if severity in present)

    @property
    def consequence(self) -> str:
        """What training and evaluation do about it."""
        return "; ".join(effect.sentence for effect in self.effects)

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return f"use --fix, or {self.kind.remedy}" if self.correctable else self.kind.remedy

    @property
    def where(self) -> str:
        """The first file, and how many more there are."""
        more = len(self.files) - 1
        return self.files[0] + (f" and {more} more" if more else "")

    def as_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON knows."""
        return {
            "kind": self.kind.name.lower(),
            "title": self.kind.title,
            "severity": self.severity.value,
            "splits": list(self.splits),
            "video": self.video,
            "files": list(self.files),
            "detail": self.detail,
            "pixels": {str(value): count for value, count in self.pixels.items()},
            "effects": [effect.name.lower() for effect in self.effects],
            "consequence": self.consequence,
            "remedy": self.remedy,
            "correctable": self.correctable,
        }


def counted(number: int, noun: str) -> str:
    """ "1 mask", "2 masks"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@dataclass(frozen=True)
class Report:
    """What was checked, and the findings: worst first, then by kind and file.

    Attributes:
        root: the dataset's folder.
        splits, num_classes, offsets: what it was checked for.
        num_videos, num_images: how many were read.
        seconds: how long that took.
        findings: empty for a sound dataset.
    """

    root: str
    splits: tuple[str, ...]
    num_classes: int
    offsets: tuple[int, ...]
    num_videos: int
    num_images: int
    seconds: float = field(compare=False)
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def images_per_second(self) -> float:
        return self.num_images / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON knows."""
        kinds = Counter(finding.kind for finding in self.findings)
        return {
            "root": self.root,
            "splits": list(self.splits),
            "num_classes": self.num_classes,
            "offsets": list(self.offsets),
            "num_videos": self.num_videos,
            "num_images": self.num_images,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "findings_by_severity": {severity.value: self.count(severity) for severity in Severity},
            "findings_by_kind": {kind.name.lower(): count for kind, count in kinds.items()},
            "findings": [finding.as_dict() for finding in self.findings],
        }
