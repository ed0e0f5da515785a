"""Segments a video and shows every class in its colour.

    cffm demo --config-file vspw/cffm_mit_b1 --video-input street.mp4 \\
        --output segmented.mp4 --opts MODEL.WEIGHTS cffm_mit_b1.pth

Videos are written as H.264, in the input's size (odd sides are padded by a pixel) with a legend
beside it, at its frame rate; frames that come at irregular times keep them. Ctrl-C, SIGTERM and
SIGUSR1 leave a playable file with the frames so far; what was there before stays until then.

Exit codes: 0 done; 1 an error, or of several videos one failed; 2 an input was incomplete (what
came of it is written), or the arguments are wrong; 130 Ctrl-C; 143 SIGTERM; 138 SIGUSR1.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction

from detectron2.utils.logger import setup_logger

from ..checkpoint import load_stored_config
from ..config import load_config
from ..engine import complete_config
from ..errors import errors_as_messages
from ..inference import dataset_classes
from ..pictures.painting import Legend
from ..stopping import stops_raised
from ..video.decoding import IncompleteVideoError
from ..video.demo_model import with_weights
from ..video.jobs import VideoJob, check_overwrites, plan_jobs
from ..video.reading import (
    DEFAULT_RATE,
    FrameSource,
    NetworkStream,
    VideoFile,
    Webcam,
    open_images,
)
from ..video.video_demo import VideoDemo, load_prototypes, load_segmentor
from ..video.writing import LabelMapFolder, PictureSink, Window, open_output

INCOMPLETE = 2  # exit codes
INTERRUPTED = 130


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


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no time to wait")
    return value


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        "--fps",
        type=frame_rate,
        metavar="RATE",
        help="frames per second of the output, such as 25 or 30000/1001; by default those of the "
        f"video, and {DEFAULT_RATE} of images",
    )
    return parser.parse_args(argv)


def add_model_and_inputs(parser: argparse.ArgumentParser) -> None:
    """What segments, and which videos."""
    parser.add_argument(
        "--config-file",
        default="",
        metavar="FILE",
        help="or the name of a shipped one, such as vspw/cffm_mit_b1; without it: the config that "
        "the checkpoint of MODEL.WEIGHTS carries; without that too: the model of `make demo`",
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
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config keys, such as MODEL.WEIGHTS FILE; after all other arguments",
    )


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
    parser.add_argument(
        "--confidence-threshold",
        type=share,
        default=0.0,
        metavar="P",
        help="pixels whose class has a lower probability stay without a colour; --masks keeps them",
    )


def open_source(args: argparse.Namespace, video: str) -> FrameSource:
    map_colors = not args.raw_colors
    if args.input:
        return open_images(args.input, args.max_megapixels, map_colors=map_colors)
    if args.webcam is not None:
        return Webcam(args.webcam)
    if NetworkStream.is_url(video):
        return NetworkStream(video, args.timeout, map_colors=map_colors)
    return VideoFile(video, map_colors=map_colors)


def sound_source(args: argparse.Namespace, source: FrameSource) -> VideoFile | None:
    """The file whose sound is kept."""
    if not args.keep_audio:
        return None
    if not isinstance(source, VideoFile) or not args.output:
        raise ValueError("--keep-audio is for a video file that becomes one, --output FILE.mp4.")
    if args.fps:
        raise ValueError("--fps changes how fast the pictures go, and --keep-audio not the sound.")
    return source


def open_job(
    args: argparse.Namespace, job: VideoJob, classes: Legend
) -> tuple[FrameSource, PictureSink | None, LabelMapFolder | None]:
    source = open_source(args, job.video)
    sound = sound_source(args, source)
    pictures: PictureSink | None = None
    if job.output:
        pictures = open_output(job.output, args.fps or source.rate, sound, keep_times=not args.fps)
    elif not job.masks:
        pictures = Window()
    colors = [color for _, color in classes]
    label_maps = LabelMapFolder(job.masks, colors) if job.masks else None
    check_overwrites(source, pictures, label_maps)
    return source, pictures, label_maps


def run_jobs(
    args: argparse.Namespace,
    jobs: Sequence[VideoJob],
    classes: Legend,
    load: Callable[[], VideoDemo],
) -> int:
    """Segment videos one after another; one that fails does not stop the others.

    Returns:
        the exit code.
    """
    # Of a single video, mistakes are said before the model is loaded.
    opened = open_job(args, jobs[0], classes) if len(jobs) == 1 else None
    demo = load()
    complaints: list[str] = []
    code = 0
    for job in jobs:
        where = " and ".join(path for path in (job.output, job.masks) if path) or "the window"
        try:
            num_frames, stopped_by = demo.run(*(opened or open_job(args, job, classes)))
        except IncompleteVideoError as error:
            complaints.append(f"{error} What came is in {where}.")
            code = code or INCOMPLETE
        except (ValueError, OSError, FloatingPointError) as error:
            if len(jobs) == 1:
                raise
            complaints.append(str(error))
            code = 1
        else:
            done = "Interrupted after" if stopped_by else "Done:"
            print(f"{done} {num_frames} frames in {where}", file=sys.stderr)
            if stopped_by:
                code = 128 + stopped_by
                break
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return code


def run(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    for name in ("fvcore", "cffm_plugin"):
        setup_logger(name=name)
    if args.config_file:
        cfg = load_config(args.config_file, args.opts)
    else:
        cfg = load_stored_config(with_weights(args.opts))
    complete_config(cfg)
    args.max_megapixels = cfg.INPUT.MAX_MEGAPIXELS  # of the images of --input
    if args.video_input:
        jobs = plan_jobs(args.video_input, args.output, args.masks)
    else:
        jobs = [VideoJob("", args.output, args.masks)]
    if args.prototypes and len(jobs) > 1:
        raise ValueError("--prototypes are of one video, and there are several.")
    classes = dataset_classes(cfg)
    prototypes = load_prototypes(cfg, args.prototypes)

    def load() -> VideoDemo:
        return VideoDemo(
            load_segmentor(cfg),
            classes,
            opacity=args.opacity,
            confidence_threshold=args.confidence_threshold,
            side_by_side=args.side_by_side,
            prototypes=prototypes,
            legend=args.legend,
        )

    return run_jobs(args, jobs, classes, load)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    return run_until_stopped(parse_args(argv))


def run_until_stopped(args: argparse.Namespace) -> int:
    """``run``, with errors as messages. Returns the exit code."""
    try:
        with errors_as_messages(), stops_raised():
            return run(args)
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
