"""Checking one video: its frames and masks, by the readers and the clip rules of training."""

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.clips import training_frames
from ..data import DEFAULT_MAX_MEGAPIXELS, LabelMapping, exif_orientation, image_size, read_image
from ..data.clip_records import labelled_frames
from ..data.datasets.gaps import gap_message, gaps_of
from ..data.image_files import is_whole, read_mask_of_any_format
from ..data.label_sanity import histogram_of
from ..data.mask_encoding import PLAIN
from ..data.mask_origins import Storage, files_by_storage
from ..errors import some
from ..evaluation.metrics import OFFICIAL_LONGEST_LEFT_OUT
from .findings import Finding, Severity

Size = tuple[int, ...]  # height, width


@dataclass(frozen=True)
class Checked:
    """What reading a video gives.

    Attributes:
        findings: all of it.
        histogram: (256,) the pixels of each value in the masks that can be read.
        storages: how grey values are stored -> the masks that store them so.
    """

    findings: list[Finding]
    histogram: np.ndarray
    storages: dict[Storage, list[str]]


@dataclass
class Video:
    """A video, the datasets that it is in, and what is amiss; ``record`` is as for training."""

    record: dict[str, Any]
    datasets: list[str] = field(default_factory=list)
    trains: bool = False
    evaluates: bool = False
    findings: list[Finding] = field(default_factory=list)
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        self.frames = self.record["frames"]
        self.labelled = labelled_frames(self.record)

    def files(self) -> set[str]:
        """All frames and masks."""
        return {f[k] for f in self.frames for k in ("file_name", "sem_seg_file_name") if f[k]}

    def drawn(self, offsets: Sequence[int]) -> set[int]:
        """Indices of the frames that training reads, given the offsets of a clip's references."""
        frames = training_frames(len(self.frames), offsets, labelled=self.labelled)
        return frames if self.trains else set()

    def add(self, kind: str, files: Iterable[str], detail: str, **more: Any) -> None:
        """Note a finding; ``more`` of it: ``stops``, ``severity``, ``correctable``."""
        where = {"splits": tuple(self.datasets), "video": self.record["video_id"]}
        self.findings.append(Finding(kind, tuple(files), detail, **where, **more))

    def check(self, mapping: LabelMapping, offsets: Sequence[int], known: set[str]) -> "Checked":
        """Read all files but those in ``known``, whose faults are."""
        histogram = np.zeros(256, dtype=np.int64)
        drawn = self.drawn(offsets)
        sizes: dict[int, Size] = {}  # of the frames that can be read
        foreign: dict[str, dict[int, int]] = {}  # mask -> value of no class -> pixels
        read = set(known)
        turned: list[str] = []  # masks that EXIF turns otherwise than their frames
        for index, frame in enumerate(self.frames):
            image, mask = frame["file_name"], frame["sem_seg_file_name"]
            stops = ("training",) * (index in drawn) + ("evaluation",) * self.evaluates
            if image not in read:
                pixels = self._read(image, "frame", read_image, stops)
                if pixels is not None:
                    sizes[index] = pixels.shape[:2]
            if mask is None or mask in read:  # several files of one frame have one mask
                continue
            read.add(mask)
            fixes = mapping.encoding == PLAIN
            labels = self._read(mask, "mask", mapping.read, stops, fixes)
            if index in sizes and self._differ_in_exif(image, mask, sizes[index], stops):
                turned.append(mask)
            if labels is None:
                continue
            counts = histogram_of(labels)
            histogram += counts
            if values := mapping.foreign_values(labels):
                foreign[mask] = {value: int(counts[value]) for value in values}
        self._check_length(drawn)
        self._check_numbers()
        self._check_frame_sizes(sizes)
        self._check_values(mapping, foreign)
        self._check_turned(turned)
        storages = files_by_storage(sorted(read - known - {f["file_name"] for f in self.frames}))
        return Checked(self.findings, histogram, storages)

    def _read(
        self,
        file: str,
        role: str,
        read: Callable[[str, float], np.ndarray],
        stops: tuple[str, ...],
        fixes: bool = False,
    ) -> np.ndarray | None:
        """What a file holds; None where that can't be trusted.

        ``stops``: if it can't be read; ``fixes``: then it may be a mask that can be corrected.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's of odd metadata, which is no fault
                pixels = read(file, self.max_megapixels)
        except Exception as error:  # damaged files make decoders raise all sorts of things
            detail = str(error) + ("" if stops else " Nothing reads it: no training clip takes it.")
            correctable = False
            with contextlib.suppress(Exception):  # as above
                correctable = fixes and bool(read_mask_of_any_format(file, self.max_megapixels))
            self.add(f"{role}_unreadable", [file], detail, stops=stops, correctable=correctable)
            return None
        if is_whole(file):
            return pixels
        detail = (
            "its end is missing or a checksum is wrong, but reading it is no error: restore it."
        )
        severity = Severity.ERROR if stops else Severity.WARNING  # those who read it get garbage
        self.add(f"{role}_incomplete", [file], detail, severity=severity)
        return None

    def _differ_in_exif(
        self, image: str, mask: str, frame_size: Size, stops: tuple[str, ...]
    ) -> bool:
        """Whether EXIF turns a mask otherwise than its frame, to the same size; notes others."""
        with contextlib.suppress(Exception):  # of a mask that is known as unreadable
            size, turns = image_size(mask), (exif_orientation(image), exif_orientation(mask))
            if size == frame_size:
                return turns[0] != turns[1]
            detail = f"the mask is {size} (height, width), its frame {frame_size}: mend one."
            if turns[0] != turns[1]:
                detail += f" EXIF turns them differently (orientation {turns[1]} and {turns[0]})."
            self.add("mask_size", [mask], detail, stops=stops)
        return False

    def _check_turned(self, masks: Sequence[str]) -> None:
        if masks:
            detail = (
                "EXIF turns or mirrors the frame and not its mask, or differently. That is right "
                "where the mask was drawn on the picture as it is shown. If it was not, remove the "
                "EXIF orientation of the frame."
            )
            self.add("exif_differs", masks, detail)

    def _check_length(self, drawn: set[int]) -> None:
        first, num_frames = self.frames[0]["file_name"], len(self.frames)
        length = f"{self.record['video_id']}: {num_frames} frames, {len(self.labelled)} labelled"
        if self.trains and not drawn:
            detail = f"{length}. Training leaves it out: no clip has all its references."
            self.add("video_without_clip", [first], detail)
        if self.evaluates and self.labelled and num_frames <= OFFICIAL_LONGEST_LEFT_OUT:
            detail = f"{length}. It counts in mIoU, but not in mVC8 and mVC16."
            self.add("video_too_short_for_vc", [first], detail, severity=Severity.INFO)

    def _check_numbers(self) -> None:
        names = [Path(frame["file_name"]).stem for frame in self.frames]
        if message := gap_message(names):
            files = [self.frames[index]["file_name"] for index in gaps_of(names)]
            self.add("frame_gap", files, message)

    def _check_frame_sizes(self, sizes: dict[int, Size]) -> None:
        counts = Counter(sizes.values()).most_common()
        if len(counts) > 1:
            scored = sizes.keys() & self.labelled if self.evaluates else set()
            changes = any(i + 1 in scored and sizes[i] != sizes[i + 1] for i in scored)
            files = [self.frames[i]["file_name"] for i in sizes if sizes[i] != counts[0][0]]
            detail = ", ".join(f"{number} frame(s) of {size}" for size, number in counts)
            detail += " (height, width). In a clip all are stretched to the target's size."
            self.add("frame_sizes_differ", files, detail, stops=("evaluation",) * changes)

    def _check_values(self, mapping: LabelMapping, foreign: dict[str, dict[int, int]]) -> None:
        pixels, masks = Counter[int](), Counter[int]()
        for values in foreign.values():
            pixels.update(values)
            masks.update(values.keys())
        if foreign:
            name_of = mapping.encoding.name_of
            named = [
                f"{name_of(v)} ({n} pixels in {masks[v]} masks)" for v, n in pixels.most_common()
            ]
            detail = f"{some(named)} stand for no class and count as void. Is the mapping right?"
            self.add("mask_foreign_values", foreign, detail)
