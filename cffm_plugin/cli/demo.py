"""Segments a video and shows every class in its colour.

    cffm demo --config-file vspw/cffm_mit_b1 --video-input street.mp4 \
        --output segmented.mp4 --opts MODEL.WEIGHTS cffm_mit_b1.pth

Videos are written as H.264, in the input's size (odd sides are padded by a pixel) with a legend
beside it, at its frame rate; frames that come at irregular times keep them. Ctrl-C, SIGTERM and
SIGUSR1 leave a playable file with the frames so far; what was there before stays until then.

Exit codes: 0 done; 1 an error, or of several videos one failed; 2 an input was incomplete (what
came of it is written), or the arguments are wrong; 130 Ctrl-C; 143 SIGTERM; 138 SIGUSR1.
"""

import argparse
from collections.abc import Sequence
from fractions import Fraction

from ..constants import IMAGE_RATE
from . import frame

share = frame.number(float, lambda value: 0 <= value <= 1, "is not in 0..1")
seconds = frame.number(float, lambda value: 0 < value < 1e6, "is no time to wait")


def frame_rate(text: str) -> Fraction:
    try:
        value = Fraction(text).limit_denominator(100_000)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a frame rate")
    return value


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    add_model_and_inputs(parser)
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="a video (.mp4, .mkv), or a folder for a PNG per frame; without it and --masks: a "
        "window, which Escape closes",
    )
    parser.add_argument(
        "--keep-audio", action="store_true", help="copy the sound of video files, not encoded anew"
    )
    parser.add_argument(
        "--masks",
        metavar="DIR",
        help="a folder for label maps: palette PNGs that hold class indices, named as the frames",
    )
    add_painting(parser)
    parser.add_argument(
        "--confidence-threshold",
        type=share,
        default=0.0,
        metavar="P",
        help="pixels whose class has a lower probability stay without a colour; --masks keeps them",
    )
    parser.add_argument(
        "--fps",
        type=frame_rate,
        metavar="RATE",
        help="frames per second of the output, such as 25 or 30000/1001; by default those of the "
        f"video, and {IMAGE_RATE} of images",
    )
    return frame.parse(parser, argv)


def add_model_and_inputs(parser: argparse.ArgumentParser) -> None:
    """What segments, and which videos."""
    frame.add_config_file(
        parser,
        ", such as vspw/cffm_mit_b1; without it: the config that the checkpoint of MODEL.WEIGHTS "
        "carries; without that too: the model of `cffm make-demo`",
    )
    inputs = parser.add_mutually_exclusive_group(required=True)
    inputs.add_argument(
        "--input",
        nargs="+",
        metavar="IMAGES",
        help="a folder, a glob or files: in natural order the frames of one video; or one picture "
        "that moves (WebP, GIF, APNG, AVIF)",
    )
    inputs.add_argument(
        "--video-input",
        nargs="+",
        metavar="VIDEO",
        help="a video file or an address (rtsp://, rtmp://, http://, https://); or several, and "
        "folders of videos, each of which becomes a video in the folder --output",
    )
    inputs.add_argument(
        "--webcam", nargs="?", type=int, const=0, metavar="ID", help="a camera, by default 0"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for the network (%(default)s)",
    )
    add_raw_colors(parser)
    parser.add_argument(
        "--prototypes",
        metavar="FILE",
        help="for CFFM++: those of the video, <video>.pt, of cffm prototypes",
    )
    frame.add_overrides(parser)


def add_raw_colors(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--raw-colors",
        action="store_true",
        help="leave HDR and wide-gamut video as its numbers are, instead of mapping it to BT.709",
    )


def add_painting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--side-by-side", action="store_true", help="each frame to the left of its painted copy"
    )
    parser.add_argument(
        "--legend",
        choices=("side", "over", "off"),
        default="side",
        help="of the classes shown: beside the picture, over its foot, or none (%(default)s)",
    )
    parser.add_argument(
        "--opacity", type=share, default=0.5, metavar="P", help="of the colours (%(default)s)"
    )


main = frame.command(parse_args, "demo")
