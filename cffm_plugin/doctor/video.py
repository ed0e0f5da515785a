"""Checking one video: its folders, then every frame and mask in them."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.clips import is_long_enough
from ..data.datasets.records import FRAME_SUFFIXES, natural_order, visible_files
from ..data.images import LabelMapping
from .correction import one_channel
from .findings import Effect, Finding, Kind, counted
from .inspection import Inspection, inspect
from .lists import TRAIN_SPLIT

LONGEST_NOT_IN_VC = 16  # evaluation.metrics.OFFICIAL_LONGEST_LEFT_OUT, which data may not import

_SPLIT_THAT_MAY_LACK_MASKS = "test"
_VALUES_NAMED = 5


@dataclass(frozen=True)
class VideoCheck:
    """What one video held: findings, the number of frames, and that of all images read."""

    findings: list[Finding]
    num_frames: int = 0
    num_images: int = 0


def check_video(
    root: Path, mapping: LabelMapping, offsets: Sequence[int], video: tuple[str, tuple[str, ...]]
) -> VideoCheck:
    """Check a video, given as its id and the splits that it is in."""
    video_id, splits = video
    folder = root / "data" / video_id
    try:
        frames = sorted(visible_files(folder / "origin", FRAME_SUFFIXES), key=natural_order)
        masks = sorted(visible_files(folder / "mask", (".png",)), key=natural_order)
    except OSError as error:
        unreadable = _Findings(video_id, splits)
        unreadable.add(Kind.VIDEO_UNREADABLE, "", str(error.strerror), (Effect.LOADING_STOPS,))
        return VideoCheck(unreadable.collected())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's of odd metadata, which training shows too
        found = _Findings(video_id, splits)
        return _VideoChecker(folder, splits, mapping, offsets, frames, masks, found).check()


class _VideoChecker:
    """Checks the frames and masks of one video.

    Args:
        folder: the video's.
        splits: those that the video is in.
        mapping: what the values in masks mean.
        offsets: references relative to the target, in training.
        frames, masks: file names in ``origin`` and ``mask``, in the order in which they are read.
        found: where the findings go.
    """

    def __init__(
        self,
        folder: Path,
        splits: tuple[str, ...],
        mapping: LabelMapping,
        offsets: Sequence[int],
        frames: list[str],
        masks: list[str],
        found: "_Findings",
    ):
        self.folder = folder
        self.mapping = mapping
        self.frames = frames
        self.masks = masks
        self.trains = TRAIN_SPLIT in splits
        self.evaluates = any(split != TRAIN_SPLIT for split in splits)
        self.needs_masks = bool(masks) or any(s != _SPLIT_THAT_MAY_LACK_MASKS for s in splits)
        self.is_long_enough = is_long_enough(len(frames), offsets)
        self.drawn = _drawn_frames(len(frames), offsets) if self.trains else set()
        self.found = found
        self.foreign_pixels: Counter[int] = Counter()
        self.foreign_masks: dict[int, list[str]] = defaultdict(list)
        self.foreign_is_read = False

    def check(self) -> VideoCheck:
        if not self.frames:
            detail = f"no {', '.join(FRAME_SUFFIXES)} in it"
            self.found.add(Kind.NO_FRAMES, "origin", detail, (Effect.LOADING_STOPS,))
            return VideoCheck(self.found.collected())
        self._check_names()
        self._check_length()
        num_images = self._check_files()
        self._add_foreign_values()
        return VideoCheck(self.found.collected(), len(self.frames), num_images)

    def _check_names(self) -> None:
        stems = Counter(Path(frame).stem for frame in self.frames)
        masks = set(self.masks)
        for frame in self.frames:
            stem = Path(frame).stem
            if stems[stem] > 1:
                detail = "several files are the same frame"
                effects = (Effect.LOADING_STOPS,)
                self.found.add(Kind.FRAME_IN_TWO_FILES, f"origin/{frame}", detail, effects)
            if self.needs_masks and f"{stem}.png" not in masks:
                detail = "expected in the folder mask, under the frame's name and .png"
                effects = (Effect.LOADING_STOPS,)
                self.found.add(Kind.MASK_MISSING, f"origin/{frame}", detail, effects)
        for mask in self.masks:
            if Path(mask).stem not in stems or not mask.endswith(".png"):
                detail = "expected in the folder origin, under the mask's name"
                effects = (Effect.MASK_NOT_READ,)
                self.found.add(Kind.MASK_WITHOUT_FRAME, f"mask/{mask}", detail, effects)

    def _check_length(self) -> None:
        detail = counted(len(self.frames), "frame")
        if self.trains and not self.is_long_enough:
            effects = (Effect.LEFT_OUT_OF_TRAINING,)
            self.found.add(Kind.TOO_SHORT_FOR_CLIP, "", detail, effects)
        if self.evaluates and self.masks and len(self.frames) <= LONGEST_NOT_IN_VC:
            self.found.add(Kind.TOO_SHORT_FOR_VC, "", detail, (Effect.NOT_IN_VC,))

    def _check_files(self) -> int:
        """Read all images; returns how many there were."""
        masks = set(self.masks)
        sizes: dict[int, tuple[int, int]] = {}
        num_images = 0
        for index, name in enumerate(self.frames):
            frame = inspect(self.folder / "origin" / name, is_mask=False)
            num_images += 1
            self._add_problem("FRAME", f"origin/{name}", frame, index)
            if frame.size is not None and frame.problem is None:
                sizes[index] = frame.size
            mask_name = f"{Path(name).stem}.png"
            if mask_name in masks:
                masks.remove(mask_name)  # two files of one frame have one mask
                num_images += 1
                self._check_mask(f"mask/{mask_name}", frame, index)
        self._check_sizes(sizes)
        return num_images

    def _check_mask(self, name: str, frame: Inspection, index: int) -> None:
        mask = inspect(self.folder / name, is_mask=True)
        if mask.image is None:
            self._add_problem("MASK", name, mask, index)
            return
        if frame.problem is None and frame.size != mask.size:
            detail = f"the mask is {_size(mask.size)}, its frame {_size(frame.size)}"
            self.found.add(Kind.MASK_SIZE, name, detail, self._stops(index))
        if mask.image.mode not in ("L", "P", "1"):
            self._add_format(name, mask, index)
            return
        if mask.image.mode == "1":
            return  # 0 and 1, of which neither is foreign
        pixels = np.array(mask.image.histogram())  # of the 256 values
        present = np.flatnonzero(pixels).astype(np.uint8)
        for value in self.mapping.foreign_values(present):
            self.foreign_pixels[value] += int(pixels[value])
            self.foreign_masks[value].append(name)
            self.foreign_is_read |= self._is_read(index)

    def _add_format(self, name: str, mask: Inspection, index: int) -> None:
        """A mask whose pixels are not 8-bit numbers."""
        assert mask.image is not None
        mode = mask.image.mode
        try:
            one_channel(mask)
            detail, correctable = f"mode {mode}, but every pixel is one 8-bit number", True
        except ValueError as reason:
            detail, correctable = f"mode {mode}, {reason}", False
        kind = Kind.MASK_16_BIT if mode.startswith(("I", "F")) else Kind.MASK_COLOUR
        self.found.add(kind, name, detail, self._stops(index), correctable)

    def _add_problem(self, role: str, name: str, picture: Inspection, index: int) -> None:
        if picture.problem is None:
            return
        kind = Kind[f"{role}_{picture.problem.name}"]
        if picture.is_decoded:
            effect = Effect.READ_ANYWAY if self._is_read(index) else Effect.NEVER_DRAWN
            effects: tuple[Effect, ...] = (effect,)
        elif role == "FRAME" and index == 0 and picture.size is None:
            effects = (Effect.LOADING_STOPS,)  # it gives the video's size
        else:
            effects = self._stops(index)
        self.found.add(kind, name, picture.detail, effects)

    def _check_sizes(self, sizes: dict[int, tuple[int, int]]) -> None:
        """``sizes``: of the whole frames."""
        counts = Counter(sizes.values())
        if len(counts) < 2:
            return
        effects = set()
        if self.trains:
            drawn_sizes = {size for index, size in sizes.items() if index in self.drawn}
            is_seen = len(drawn_sizes) > 1
            effects.add(Effect.FRAMES_STRETCHED if is_seen else Effect.NEVER_DRAWN)
        if self.evaluates:
            effects.add(Effect.EVALUATION_STOPS if self.masks else Effect.FRAMES_STRETCHED)
        common, _ = counts.most_common(1)[0]
        detail = ", ".join(
            f"{counted(n, 'frame')} of {_size(size)}" for size, n in counts.most_common()
        )
        for index, size in sizes.items():
            if size != common:
                name = f"origin/{self.frames[index]}"
                self.found.add(Kind.FRAME_SIZES_DIFFER, name, detail, _in_order(effects))

    def _add_foreign_values(self) -> None:
        if not self.foreign_pixels:
            return
        common = self.foreign_pixels.most_common()
        named = [
            f"{value} ({counted(pixels, 'pixel')} in "
            f"{counted(len(self.foreign_masks[value]), 'mask')})"
            for value, pixels in common[:_VALUES_NAMED]
        ]
        if len(common) > _VALUES_NAMED:
            named.append(counted(len(common) - _VALUES_NAMED, "more value"))
        masks = sorted({m for masks in self.foreign_masks.values() for m in masks})
        for name in masks:
            self.found.add(
                Kind.MASK_FOREIGN_VALUES,
                name,
                ", ".join(named),
                (Effect.COUNTED_AS_VOID if self.foreign_is_read else Effect.NEVER_DRAWN,),
                correctable=True,
                pixels=dict(sorted(self.foreign_pixels.items())),
            )

    def _is_read(self, index: int) -> bool:
        """Whether training or evaluation reads a frame and its mask."""
        return self.evaluates or index in self.drawn

    def _stops(self, index: int) -> tuple[Effect, ...]:
        """What a frame or mask that can't be used stops."""
        effects = set()
        if self.trains:
            is_drawn = index in self.drawn
            effects.add(Effect.TRAINING_STOPS if is_drawn else Effect.NEVER_DRAWN)
        if self.evaluates:
            effects.add(Effect.EVALUATION_STOPS)
        return _in_order(effects)


class _Findings:
    """Gathers the faults of a video; those that differ in the file alone become one finding."""

    def __init__(self, video_id: str, splits: tuple[str, ...]):
        self.video_id = video_id
        self.splits = splits
        self._files: dict[tuple, list[str]] = defaultdict(list)
        self._pixels: dict[tuple, dict[int, int]] = {}

    def add(
        self,
        kind: Kind,
        name: str,
        detail: str,
        effects: tuple[Effect, ...],
        correctable: bool = False,
        pixels: dict[int, int] | None = None,
    ) -> None:
        """``name``: relative to the video's folder, "" for the folder itself."""
        key = (kind, effects, detail, correctable)
        self._files[key].append(f"data/{self.video_id}/{name}".rstrip("/"))
        self._pixels[key] = pixels or {}

    def collected(self) -> list[Finding]:
        return [
            Finding(
                kind,
                effects,
                tuple(files),
                detail,
                self.splits,
                self.video_id,
                self._pixels[kind, effects, detail, correctable],
                correctable,
            )
            for (kind, effects, detail, correctable), files in self._files.items()
        ]


def _drawn_frames(num_frames: int, offsets: Sequence[int]) -> set[int]:
    """The frames that some training clip takes: of 10 frames, 0, 3, 6 and 9 at -9, -6, -3."""
    targets = range(-min(offsets, default=0), num_frames)
    forward = {target + offset for target in targets for offset in (*offsets, 0)}
    return forward | {num_frames - 1 - index for index in forward}


def _in_order(effects: set[Effect]) -> tuple[Effect, ...]:
    return tuple(effect for effect in Effect if effect in effects)


def _size(size: tuple[int, int] | None) -> str:
    """(height, width) as width x height."""
    assert size is not None  # only whole images are compared
    return f"{size[1]}x{size[0]}"
