"""From an uploaded file to a video of both segmentors and what is said of it."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import text_of
from ..video.side_by_side import IMAGE, VIDEO, Comparison
from ..video.writing import VideoWriter
from .limits import LimitedVideo, Limits
from .models import Models

# What a person's file may cause; everything else is a mistake of ours.
EXPECTED = (ValueError, OSError, KeyError, FloatingPointError, ImportError)


@dataclass(frozen=True)
class Answer:
    """
    Attributes:
        video: H.264; None where nothing came.
        text: what to say, in Markdown.
    """

    video: Path | None
    text: str


def segment(
    path: Path,
    model: str,
    models: Models,
    limits: Limits,
    folder: Path,
    progress: Callable[[int, int | None], None],
) -> Answer:
    """Segment a person's video.

    Args:
        path: the file, whatever is in it.
        model: its name.
        folder: in which a new one is made for the result.
        progress: told how many frames are done, of how many (None where that is not known).
    """
    try:
        video = limits.open(path)
        both = models.load(model)
        target = Path(tempfile.mkdtemp(dir=folder), f"{path.stem}_segmented.mp4")
        total = video.num_frames
        writer = VideoWriter(target, video.source.rate, keep_times=True)
        result = both.run(video, writer, lambda count: progress(count, total))
    except EXPECTED as error:
        said = text_of(error).replace(str(path), path.name)
        return Answer(None, f"**This can't be done.** {said}")
    if not result.num_frames:
        return Answer(None, f"**This can't be done.** {path.name}: no frame can be read.")
    return Answer(target, describe(result, video, path))


def describe(result: Comparison, video: LimitedVideo, path: Path) -> str:
    """The figures, in Markdown, and what they mean."""
    lines = []
    if video.was_cut:
        lines.append(
            f"**Cut after {result.num_frames} frames:** the limit is {video.limits.seconds:g} "
            "seconds.\n"
        )
    if result.incomplete:
        said = result.incomplete.replace(str(path), path.name)
        lines.append(f"**The file is damaged or cut off.** {said} What came is shown.\n")
    if result.changed is None:
        return "\n".join([*lines, "One frame: there is no flicker to measure."])
    lines += [
        "| pixels that change their class from one frame to the next | |",
        "|---|---|",
        *(f"| {name} | {100 * result.changed[name]:.2f} % |" for name in (IMAGE, VIDEO)),
        "",
        f"Mean over {result.num_frames} frames. There is no truth to compare with: what really "
        "moves is in both figures, and their difference is what one flickers more than the other.",
    ]
    return "\n".join(lines)
