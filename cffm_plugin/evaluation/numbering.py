"""Predictions whose names are not their frames': which frame each is of, by number or by order.

A name's number is one of the runs of digits in it: "frankfurt_000000_000294_leftImg8bit" has the
number 294 as the second from its end. Positions are counted like that, from 0.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_POSITIONS = range(4)


@dataclass(frozen=True)
class NamedVideo:
    """What a video's frames and predictions are called.

    Attributes:
        video_id: its name.
        frames: the stems of its L frames, in order.
        labelled: which of them have ground truth.
        files: the predictions' file names, sorted.
    """

    video_id: str
    frames: tuple[str, ...]
    labelled: tuple[bool, ...]
    files: tuple[str, ...]

    @property
    def named_like_frames(self) -> int:
        """How many predictions are called like a frame."""
        return len(set(self.files) & {f"{frame}.png" for frame in self.frames})


@dataclass(frozen=True)
class OtherNames:
    """How predictions are called that are not called like their frames.

    Attributes:
        advice: what is found and what to do, for an error.
        overlap: whether some have the names of *other* frames, whose truth is not theirs.
    """

    advice: str
    overlap: bool


def by_number(video: NamedVideo, offset: int) -> dict[str, str]:
    """Stem of a frame -> the prediction whose number is the frame's less ``offset``.

    Raises:
        ValueError: two frames or two predictions have one number.
    """
    frames = _numbers(video.frames)
    if frames is None:
        raise ValueError(
            f"Video {video.video_id}: its frames are not told apart by numbers in their names, as "
            "in 00000012.jpg, so that no offset can be counted."
        )
    frame_at = dict(zip(frames, video.frames))
    best: list[tuple[int, str]] = []
    for position in _POSITIONS:
        numbers = [_number(Path(file).stem, position) for file in video.files]
        numbered = [(n + offset, f) for n, f in zip(numbers, video.files) if n is not None]
        found = [(n, file) for n, file in numbered if n in frame_at]
        best = max(best, found, key=lambda pairs: len(dict(pairs)))
    matched: dict[str, str] = {}
    for n, file in best:
        if other := matched.get(frame_at[n]):
            raise ValueError(
                f"Video {video.video_id}: {other} and {file} are both of frame {frame_at[n]} by "
                "their numbers. Leave one."
            )
        matched[frame_at[n]] = file
    return matched


def in_order(video: NamedVideo) -> dict[str, str]:
    """Stem of a frame -> the prediction at its place; of all frames, or of the labelled ones.

    Raises:
        ValueError: there are as many as neither.
    """
    labelled = [frame for frame, is_labelled in zip(video.frames, video.labelled) if is_labelled]
    for frames in (video.frames, labelled):
        if len(frames) == len(video.files):
            return dict(zip(frames, sorted(video.files, key=_natural)))
    raise ValueError(
        f"Video {video.video_id}: {len(video.files)} predictions can't be taken in order for its "
        f"{len(video.frames)} frames, {len(labelled)} of them labelled."
    )


def other_names(videos: Sequence[NamedVideo]) -> OtherNames | None:
    """What explains predictions that are called like no frame; None if nothing does."""
    videos = [video for video in videos if video.files]
    strange = [video for video in videos if video.named_like_frames < len(video.files)]
    if not strange:
        return None
    equal, all_files = (
        sum(of) for of in zip(*((v.named_like_frames, len(v.files)) for v in strange))
    )
    overlap = equal > 0
    fits = {video.video_id: _fits(video) for video in videos}
    common = _best(fits.values())
    if common:
        return OtherNames(_example_and_offsets(strange[0], common), overlap and common[0] != 0)
    shifted = {
        video.video_id: best[0] for video in strange if (best := _best([fits[video.video_id]]))
    }
    counts = ((len(video.frames), sum(video.labelled)) for video in videos)
    if 2 * equal < all_files and all(len(v.files) in of for v, of in zip(videos, counts)):
        first = strange[0]
        frame, file = next(iter(in_order(first).items()))
        return OtherNames(
            "The predictions are called otherwise than the frames, and there are as many of them. "
            f"If they are in the same order ({first.video_id}/{file} of frame {frame}), score with "
            "`cffm score --in-order` (in_order=True), or rename them.",
            overlap,
        )
    if not any(shifted.values()):
        return None
    listed = [f"{video} by {offset:+d}" for video, offset in shifted.items() if offset]
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return OtherNames(
        f"The numbers of predictions look shifted against their frames': {', '.join(listed[:5])}"
        f"{more}. Rename these. {_AS_THEY_ARE}",
        overlap,
    )


_AS_THEY_ARE = (
    "If the numbers are right as they are, say so with --frame-offset 0 (and --partial, since "
    "predictions are missing or too many)."
)

Fits = Mapping[int, int]  # offset -> labelled frames that get a prediction


def _example_and_offsets(video: NamedVideo, offsets: Sequence[int]) -> str:
    offset = offsets[0]
    frame, file = next(iter(by_number(video, offset).items()))
    example = f"{video.video_id}/{file} is of frame {frame}"
    if offset == 0:
        return (
            f"The predictions have the frames' numbers under other names: {example}. Score with "
            "`cffm score --frame-offset 0` (frame_offset=0), which compares numbers alone, or "
            "rename them."
        )
    either = " or ".join(f"{other:+d}" for other in offsets)
    return (
        f"The numbers of all predictions are shifted against the frames' by {either}: {example}. "
        f"Score with `cffm score --frame-offset {offset}` (frame_offset={offset}), or rename them. "
        f"{_AS_THEY_ARE}"
    )


def _fits(video: NamedVideo) -> Fits:
    """The offsets by which every prediction has the number of a frame."""
    frames = _numbers(video.frames)
    found: dict[int, int] = {}
    if frames is None:
        return found
    labelled = {n for n, is_labelled in zip(frames, video.labelled) if is_labelled}
    every = set(frames)
    for position in _POSITIONS:
        numbers = _distinct([_number(Path(file).stem, position) for file in video.files])
        if numbers is None:
            continue
        low, high = min(frames) - min(numbers), max(frames) - max(numbers)
        for offset in range(low, high + 1):
            if all(n + offset in every for n in numbers):
                covered = sum(n + offset in labelled for n in numbers)
                found[offset] = max(covered, found.get(offset, 0))
    return found


def _best(fits: Iterable[Fits]) -> list[int]:
    """The offsets that fit all, of those that give the most labelled frames a prediction; the
    least shift first, and alone if it is none."""
    fits = list(fits)
    common = set.intersection(*(set(of) for of in fits)) if fits else set()
    covered = {offset: sum(of[offset] for of in fits) for offset in common}
    most = max(covered.values(), default=0)
    best = sorted((offset for offset in common if covered[offset] == most), key=abs)
    return best[:1] if best[:1] == [0] else best[:3]


def _numbers(stems: Sequence[str]) -> list[int] | None:
    """The numbers that tell names apart, at the last position where they do."""
    for position in _POSITIONS:
        numbers = _distinct([_number(stem, position) for stem in stems])
        if numbers is not None:
            return numbers
    return None


def _distinct(numbers: Sequence[int | None]) -> list[int] | None:
    known = [n for n in numbers if n is not None]
    return known if len(set(known)) == len(numbers) else None


def _number(stem: str, position: int) -> int | None:
    groups = re.findall(r"[0-9]+", stem)
    return int(groups[-1 - position]) if position < len(groups) else None


def _natural(name: str) -> list[tuple[int, str]]:
    """For sorting: "frame9" before "frame10"."""
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split("([0-9]+)", name)
    ]
