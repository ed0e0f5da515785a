#!/usr/bin/env python3
"""Segments a video and shows every class in its colour.

    python tools/demo.py --config-file configs/vspw/cffm_mit_b1.yaml --video-input street.mp4 \\
        --output segmented.mp4 --opts MODEL.WEIGHTS cffm_mit_b1.pth

Videos are written as H.264 without sound, in the input's size (odd sides are padded by a pixel) and
at its frame rate; frames that come at irregular times keep them. Ctrl-C leaves a playable file with
the frames so far.
"""

import argparse
import sys
from fractions import Fraction

from detectron2.utils.logger import setup_logger

from cffm_plugin.checkpoint import load_stored_config
from cffm_plugin.config import load_config
from cffm_plugin.engine import complete_config
from cffm_plugin.video.reading import (
    DEFAULT_RATE,
    FrameSource,
    ImageFiles,
    VideoFile,
    Webcam,
)
from cffm_plugin.video.video_demo import (
    VideoDemo,
    check_overwrites,
    dataset_classes,
    load_prototypes,
    load_segmentor,
)
from cffm_plugin.video.writing import LabelMapFolder, PictureSink, Window, open_output

INTERRUPTED = 130  # exit code


def share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not in 0..1")
    return value


def frame_rate(text: str) -> Fraction:
    try:
        value = Fraction(text).limit_denominator(100_000)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a frame rate")
    return value


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config-file",
        default="",
        metavar="FILE",
        help="without it: the config that the checkpoint of MODEL.WEIGHTS carries",
    )
    inputs = parser.add_mutually_exclusive_group(required=True)
    inputs.add_argument(
        "--input",
        nargs="+",
        metavar="IMAGES",
        help="a folder, a glob or files: in natural order the frames of one video",
    )
    inputs.add_argument("--video-input", metavar="FILE", help="a video file")
    inputs.add_argument(
        "--webcam", nargs="?", type=int, const=0, metavar="ID", help="a camera, by default 0"
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="a video (.mp4, .mkv), or a folder for a PNG per frame; without it and --masks: a "
        "window, which Escape closes",
    )
    parser.add_argument(
        "--masks",
        metavar="DIR",
        help="a folder for label maps: palette PNGs that hold class indices, named as the frames",
    )
    parser.add_argument(
        "--side-by-side", action="store_true", help="each frame to the left of its painted copy"
    )
    parser.add_argument(
        "--opacity", type=share, default=0.5, metavar="P", help="of the colours (%(default)s)"
    )
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
        f"video, and {DEFAULT_RATE} of images",
    )
    parser.add_argument(
        "--prototypes",
        metavar="FILE",
        help="for CFFM++: those of the video, <video>.pt, of tools/make_prototypes.py",
    )
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config keys, such as MODEL.WEIGHTS FILE; after all other arguments",
    )
    return parser.parse_args()


def open_source(args: argparse.Namespace) -> FrameSource:
    if args.input:
        return ImageFiles(args.input)
    return VideoFile(args.video_input) if args.video_input else Webcam(args.webcam)


def open_pictures(args: argparse.Namespace, source: FrameSource) -> PictureSink | None:
    if args.output:
        return open_output(args.output, args.fps or source.rate)
    return None if args.masks else Window()


def main(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    for name in ("fvcore", "cffm_plugin"):
        setup_logger(name=name)
    if args.config_file:
        cfg = load_config(args.config_file, args.opts)
    else:
        cfg = load_stored_config(args.opts)
    complete_config(cfg)
    source = open_source(args)
    pictures = open_pictures(args, source)
    classes = dataset_classes(cfg)
    colors = [color for _, color in classes]
    label_maps = LabelMapFolder(args.masks, colors) if args.masks else None
    check_overwrites(source, pictures, label_maps)
    prototypes = load_prototypes(cfg, args.prototypes)
    demo = VideoDemo(
        load_segmentor(cfg),
        classes,
        opacity=args.opacity,
        confidence_threshold=args.confidence_threshold,
        side_by_side=args.side_by_side,
        prototypes=prototypes,
    )
    num_frames, interrupted = demo.run(source, pictures, label_maps)
    where = " and ".join(path for path in (args.output, args.masks) if path) or "the window"
    done = "Interrupted after" if interrupted else "Done:"
    print(f"{done} {num_frames} frames in {where}", file=sys.stderr)
    return INTERRUPTED if interrupted else 0


if __name__ == "__main__":
    try:
        sys.exit(main(parse_args()))
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (KeyError, ValueError, OSError, ImportError) as error:
        sys.exit(str(error.args[0] if isinstance(error, KeyError) else error))
