"""Labels videos with a trained segmentor, and makes a dataset of them that another can train on.

    cffm pseudo-label --num-gpus 2 --config-file vspw/segformer_mit_b1 \\
        --input videos --output output/pseudo --min-confidence 0.5 MODEL.WEIGHTS segformer.pth

--input holds a folder of frames per video; for other layouts, such as VSPW's, see --frames. Writes
a PNG per frame, OUTPUT/masks/VIDEO/FRAME.png, and OUTPUT/NAME.yaml for DATASETS.VIDEO_FOLDERS. Of
each frame, class probabilities are averaged over scales and flips. Stopped, and called again in the
same way, it goes on where it was. Without a GPU, let --num-gpus be the number of cores.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from ..checkpoint import load_stored_config
from ..config import load_config
from ..engine import complete_config, launch_job
from ..engine.pseudo_label_folder import DEFAULT_FRAMES, PseudoLabelFolder
from ..engine.pseudo_labels import (
    describe,
    make_pseudo_labels,
    prepare_pseudo_labels,
    training_command,
)
from ..errors import errors_as_messages
from ..stopping import stops_raised


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = default_argument_parser(epilog=__doc__)
    parser.add_argument("--input", required=True, metavar="DIR", help="the folder of videos")
    parser.add_argument("--output", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--frames",
        default=DEFAULT_FRAMES,
        metavar="FORMAT",
        help='path of a frame below --input, such as "data/{video}/origin/{frame}.jpg" for VSPW '
        "(%(default)s)",
    )
    parser.add_argument(
        "--videos",
        nargs="+",
        metavar="NAME",
        help="these alone: their names, or one file with a name per line",
    )
    parser.add_argument("--name", default="pseudo", help="of the dataset (%(default)s)")
    parser.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=[0.75, 1.0, 1.25],
        metavar="S",
        help="sizes to see each frame in, over INPUT.CLIP.FIT_SIZE (%(default)s)",
    )
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="see each also flipped (%(default)s)",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="P",
        help="pixels whose class has a lower probability become void, 0 <= P < 1 (%(default)s)",
    )
    return parser.parse_args(argv)


def read_config(args: argparse.Namespace) -> CfgNode:
    """The config of the file, or else of the checkpoint."""
    if args.config_file:
        cfg = load_config(args.config_file, args.opts)
    else:
        cfg = load_stored_config(args.opts)
    complete_config(cfg)
    cfg.TEST.AUG.SCALES, cfg.TEST.AUG.FLIP = tuple(args.scales), args.flip
    return cfg


def label(args: argparse.Namespace, folder: PseudoLabelFolder) -> None:
    """What every process does."""
    for name in ("fvcore", "cffm_plugin"):
        setup_logger(name=name, distributed_rank=comm.get_rank())
    cfg = read_config(args)
    with stops_raised():  # a process of its own, where there are several
        counts = make_pseudo_labels(cfg, folder, args.min_confidence)
    if comm.is_main_process():
        print(f"\n{describe(folder, counts)}\n\nTo train a video segmentor on them:\n")
        print(f"{training_command(cfg, folder, args.config_file)}\n")


def run(args: argparse.Namespace) -> None:
    cfg = read_config(args)
    videos = args.videos
    if videos and len(videos) == 1 and Path(videos[0]).is_file():
        videos = Path(videos[0]).resolve()
    options = {"name": args.name, "frames": args.frames, "videos": videos}
    folder = PseudoLabelFolder.of_config(cfg, args.output, args.input, **options)
    prepare_pseudo_labels(cfg, folder, args.min_confidence)
    launch_job(label, args, folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    args = parse_args(argv)
    try:
        with errors_as_messages(), stops_raised("The same command goes on from here."):
            run(args)
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command goes on from here.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
