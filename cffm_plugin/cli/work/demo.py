"""What `cffm demo` does, with the arguments of ``cffm_plugin.cli.demo``."""

import argparse
import sys
from collections.abc import Callable, Sequence

from ...inference import dataset_classes
from ...pictures.painting import Legend
from ...video.decoding import IncompleteVideoError
from ...video.demo_model import with_weights
from ...video.jobs import VideoJob, check_overwrites, plan_jobs
from ...video.opening import open_video
from ...video.reading import FrameSource, VideoFile, Webcam, open_images
from ...video.video_demo import VideoDemo, load_prototypes, load_segmentor
from ...video.writing import LabelMapFolder, PictureSink, Window, open_output
from .configs import log_to_terminal, read_config

INCOMPLETE = 2  # an exit code


def open_source(args: argparse.Namespace, video: str) -> FrameSource:
    map_colors = not args.raw_colors
    if args.input:
        return open_images(args.input, args.max_megapixels, map_colors=map_colors)
    if args.webcam is not None:
        return Webcam(args.webcam)
    return open_video(video, timeout=args.timeout, map_colors=map_colors)


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
        pictures = Window("Write a file or a folder instead: --output FILE.mp4 or --output FOLDER.")
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
    log_to_terminal()
    opts = args.opts if args.config_file else with_weights(args.opts)
    cfg = read_config(args.config_file, opts)
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
