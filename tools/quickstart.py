#!/usr/bin/env python3
"""From nothing to a trained and evaluated CFFM in minutes, on a CPU.

Writes a small synthetic dataset in VSPW's format, trains an image segmentor on it, and from that
one checkpoint goes on in two ways for about the same time: as the image segmentor that it is, and
with CFFM on top. Evaluates both and writes metrics.json and preview.png. Every step is a command
that you could type; what it prints goes to a log file in the step's folder.

    python tools/quickstart.py --output output/quickstart
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from detectron2.utils.logger import setup_logger
from tabulate import tabulate

from cffm_plugin.config import load_config
from cffm_plugin.data import read_image, read_mask
from cffm_plugin.video.painting import colorize, comparison_sheet

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("mIoU", "fwIoU", "mVC8", "mVC16")
MODELS = {"baseline": "image baseline", "cffm": "CFFM"}
PREVIEW_FRAMES = (10, 13, 16, 19)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "quickstart")
    parser.add_argument(
        "--videos",
        type=int,
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        default=(40, 10, 0),
        help="videos of the dataset (%(default)s)",
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, help="KEY VALUE overrides for every training"
    )
    args = parser.parse_args()
    output = args.output.resolve()
    datasets = output / "datasets"
    os.environ["DETECTRON2_DATASETS"] = str(datasets)
    started = time.perf_counter()

    step("Writing a synthetic dataset in VSPW's format", output / "dataset.log")
    run(
        output / "dataset.log",
        ROOT / "tools" / "make_synthetic_vspw.py",
        *("--output", datasets / "synthetic_vspw", "--videos", *args.videos),
    )
    train(output, "segformer", "Training the image segmentor", "", args.opts)
    image_segmentor = output / "segformer" / "model_final.pth"
    seconds = {
        "baseline": train(
            output, "baseline", "Training it on: the image baseline", image_segmentor, args.opts
        ),
        "cffm": train(output, "cffm", "Training CFFM on top of it", image_segmentor, args.opts),
    }

    metrics = {name: measure(output / name, seconds[name]) for name in MODELS}
    (output / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    preview(output).save(output / "preview.png")
    print(f"\n{table(metrics)}\n")
    print(f"{output / 'metrics.json'}\n{output / 'preview.png'}")
    print(f"Done in {time.perf_counter() - started:.0f} s")


def step(title: str, log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"{title} ({log})", flush=True)


def run(log: Path, *arguments: object) -> None:
    """Run a Python script with its output in a log file; on failure show the log's end and stop."""
    command = [sys.executable, *map(str, arguments)]
    with log.open("w") as file:
        file.write(f"{shlex.join(command)}\n")
        file.flush()
        result = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    if result.returncode:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        sys.exit(f"{end}\n\nThis step failed, see {log}: {shlex.join(command)}")


def train(output: Path, name: str, title: str, weights: object, opts: list[str]) -> float:
    """Train and evaluate one of configs/quickstart; returns the seconds it took."""
    folder = output / name
    shutil.rmtree(folder, ignore_errors=True)
    log = output / f"{name}.log"
    step(title, log)
    start = time.perf_counter()
    run(
        log,
        ROOT / "tools" / "train_net.py",
        *("--config-file", ROOT / "configs" / "quickstart" / f"{name}.yaml"),
        *("OUTPUT_DIR", folder, "MODEL.WEIGHTS", weights, "TEST.SAVE_PREDICTIONS", "True", *opts),
    )
    return time.perf_counter() - start


def measure(folder: Path, seconds: float) -> dict[str, float]:
    """The scores of a finished run, its parameters in millions and its time."""
    scores = json.loads((folder / "inference" / "vspw_results.json").read_text())["sem_seg"]
    setup_logger(name="detectron2").setLevel("WARNING")
    model = build_model(load_config(str(folder / "config.yaml")))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {name: scores[name] for name in METRICS} | {
        "parameters_M": parameters / 1e6,
        "time_s": seconds,
    }


def table(metrics: dict[str, dict[str, float]]) -> str:
    rows = [
        [
            MODELS[name],
            *(f"{row[metric]:.2f}" for metric in METRICS),
            f"{row['parameters_M']:.2f} M",
            f"{row['time_s']:.0f} s",
        ]
        for name, row in metrics.items()
    ]
    header = ["", *METRICS, "parameters", "time"]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def preview(output: Path):
    """A few frames of the first validation video: input, truth and both predictions."""
    dataset = "synthetic_vspw_val"
    metadata = MetadataCatalog.get(dataset)
    frames = [r for r in DatasetCatalog.get(dataset) if r["frame_index"] in PREVIEW_FRAMES]
    frames = frames[: len(PREVIEW_FRAMES)]
    rows, shown = [], set()
    for record in frames:
        stem = Path(record["file_name"]).stem
        truth = metadata.label_mapping(read_mask(record["sem_seg_file_name"]))
        predicted = Path("inference", "result_submission", record["video_id"], f"{stem}.png")
        predictions = [read_mask(output / name / predicted) for name in MODELS]
        shown.update(truth.reshape(-1).tolist(), *(p.reshape(-1).tolist() for p in predictions))
        labels = [colorize(label, metadata.stuff_colors) for label in (truth, *predictions)]
        rows.append([read_image(record["file_name"])[:, :, ::-1], *labels])
    legend = [
        (name, color)
        for k, (name, color) in enumerate(zip(metadata.stuff_classes, metadata.stuff_colors))
        if k in shown
    ]
    return comparison_sheet(
        rows,
        row_titles=[f"frame {record['frame_index']}" for record in frames],
        column_titles=["input", "truth", *MODELS.values()],
        legend=[*legend, ("void", (0, 0, 0))],
    )


if __name__ == "__main__":
    main()
