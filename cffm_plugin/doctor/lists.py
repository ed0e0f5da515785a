"""The lists of a dataset in VSPW's layout: which video is in which splits."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ..data.clips import is_long_enough
from .findings import Effect, Finding, Kind, counted

TRAIN_SPLIT = "train"  # what load_vspw makes training records of

_LACKS_LIST = {Kind.LIST_MISSING, Kind.LIST_EMPTY, Kind.LIST_UNREADABLE}
_LINES_NAMED = 10


def check_lists(
    root: Path, splits: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], list[Finding]]:
    """The videos that have a folder -> their splits, and what is wrong with the lists."""
    findings: list[Finding] = []
    lines_of: dict[str, dict[str, list[int]]] = defaultdict(dict)  # video -> split -> its lines
    for split in splits:
        lines, problem = _read_list(root, split)
        findings += problem
        for video_id, numbers in lines.items():
            lines_of[video_id][split] = numbers
            if len(numbers) > 1:
                findings.append(_listed_twice(video_id, split, numbers))
    videos = {}
    for video_id, lines in lines_of.items():
        if len(lines) > 1:
            findings.append(_in_two_splits(video_id, tuple(lines)))
        if (root / "data" / video_id).is_dir():
            videos[video_id] = tuple(lines)
        else:
            findings.append(_missing(video_id, lines))
    if not _LACKS_LIST & {finding.kind for finding in findings}:  # else nobody knows
        findings += _unlisted(root, set(lines_of))
    return videos, findings


def check_clips(
    lengths: dict[str, int], splits_of: dict[str, tuple[str, ...]], offsets: Sequence[int]
) -> list[Finding]:
    """Whether some training video is long enough, if there is any. ``lengths``: in frames."""
    training = [n for video_id, n in lengths.items() if n and TRAIN_SPLIT in splits_of[video_id]]
    if not training or any(is_long_enough(n, offsets) for n in training):
        return []
    detail = (
        f"the longest has {counted(max(training), 'frame')}; frame offsets {tuple(offsets)} take "
        f"{1 - min(offsets)}"
    )
    effects = (Effect.TRAINING_CANNOT_START,)
    return [Finding(Kind.NO_CLIP, effects, (f"{TRAIN_SPLIT}.txt",), detail, (TRAIN_SPLIT,))]


def _read_list(root: Path, split: str) -> tuple[dict[str, list[int]], list[Finding]]:
    """Video -> the lines that name it, read as ``load_vspw`` reads them, or why there is none."""
    name = f"{split}.txt"

    def problem(kind: Kind, detail: str) -> tuple[dict[str, list[int]], list[Finding]]:
        return {}, [Finding(kind, (Effect.LOADING_STOPS,), (name,), detail, (split,))]

    if not (root / name).is_file():
        return problem(Kind.LIST_MISSING, "there is no such file")
    try:
        text = (root / name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return problem(Kind.LIST_UNREADABLE, str(error))
    lines: dict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            lines[line.strip()].append(number)
    return (lines, []) if lines else problem(Kind.LIST_EMPTY, "there is no id in it")


def _listed_twice(video_id: str, split: str, numbers: list[int]) -> Finding:
    detail = f"{video_id} in lines {_some(numbers)}"
    effects = (Effect.LOADING_STOPS,)
    return Finding(
        Kind.ID_LISTED_TWICE, effects, (f"{split}.txt",), detail, (split,), video=video_id
    )


def _in_two_splits(video_id: str, splits: tuple[str, ...]) -> Finding:
    trained_on = TRAIN_SPLIT in splits
    effect = Effect.SCORED_AFTER_TRAINING if trained_on else Effect.SCORED_IN_EACH
    files = tuple(f"{split}.txt" for split in splits)
    detail = f"{video_id} in {', '.join(splits)}"
    return Finding(Kind.ID_IN_TWO_SPLITS, (effect,), files, detail, splits, video=video_id)


def _missing(video_id: str, lines: dict[str, list[int]]) -> Finding:
    places = ", ".join(f"line {numbers[0]} of {split}.txt" for split, numbers in lines.items())
    effects = (Effect.LOADING_STOPS,)
    files = (f"data/{video_id}",)
    return Finding(Kind.VIDEO_MISSING, effects, files, places, tuple(lines), video=video_id)


def _unlisted(root: Path, listed: set[str]) -> list[Finding]:
    """The folders in ``data`` that neither these lists name nor any other in the root."""
    data = root / "data"
    if not data.is_dir():
        return []
    for path in sorted(root.glob("*.txt")):
        lines, _ = _read_list(root, path.stem)
        listed = listed | lines.keys()
    names = [path.name for path in sorted(data.iterdir()) if path.is_dir()]
    return [
        Finding(
            Kind.VIDEO_UNLISTED, (Effect.VIDEO_NOT_READ,), (f"data/{n}",), "in no list", video=n
        )
        for n in names
        if n not in listed and not n.startswith(".")
    ]


def _some(numbers: list[int]) -> str:
    more = len(numbers) - _LINES_NAMED
    return ", ".join(map(str, numbers[:_LINES_NAMED])) + (f" and {more} more" if more > 0 else "")
