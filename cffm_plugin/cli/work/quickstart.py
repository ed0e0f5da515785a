"""What `cffm quickstart` does, with the arguments of ``cffm_plugin.cli.quickstart``."""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from tabulate import tabulate

from ... import synthetic  # noqa: F401  (registers the dataset)
from ...data import Dataset, read_image, read_mask
from ...experiments import SYNTHETIC, TRAIN, Run, read_results, run_all
from ...files import whole_file, write_json
from ...pictures.painting import colorize, comparison_sheet
from ...report import ReportOptions, find_model, make_report
from ...results import FWIOU, MIOU, MVC8, MVC16, TA8

DATASET = "synthetic_vspw_val"
METRICS = tuple(metric.name for metric in (MIOU, FWIOU, MVC8, MVC16, TA8))
MODELS = {"baseline": "image baseline", "cffm": "CFFM"}
SMOOTHING = 0.5
PREVIEW_FRAMES = (10, 13, 16, 19)


def run(args: argparse.Namespace) -> None:
    output = args.output.resolve()
    os.environ["DETECTRON2_DATASETS"] = str(output / "datasets")
    started = time.perf_counter()
    write_dataset(output, args.videos)
    runs = make_runs(output, args.opts)
    for run in runs:
        shutil.rmtree(run.folder, ignore_errors=True)
    if run_all(runs):
        sys.exit(1)
    metrics = {name: measure(run) for name, run in zip(row_titles(), runs[1:], strict=True)}
    write_json(output / "metrics.json", metrics)
    with whole_file(output / "preview.png") as partial:
        preview(output).save(partial)
    index = report(output)
    print(f"\n{table(metrics)}\n")
    print(f"{output / 'metrics.json'}\n{output / 'preview.png'}")
    print(f"Done in {time.perf_counter() - started:.0f} s. To look at, in a browser:")
    print(index)


def write_dataset(output: Path, videos: list[int]) -> None:
    """Run the tool; a terminal sees its bar, what it prints goes to a log."""
    log = output / "dataset.log"
    output.mkdir(parents=True, exist_ok=True)
    print(f"Writing a synthetic dataset in VSPW's format ({log})", flush=True)
    command = [
        *(sys.executable, *SYNTHETIC),
        *("--output", str(output / "datasets" / "synthetic_vspw"), "--videos", *map(str, videos)),
    ]
    with log.open("w") as file:
        file.write(f"{shlex.join(command)}\n")
        file.flush()
        bar = None if sys.stderr.isatty() else file
        failed = subprocess.run(command, stdout=file, stderr=bar).returncode
    if failed:
        sys.exit(f"{log.read_text(errors='replace')}\nThis step failed, see {log}")


def make_runs(output: Path, opts: list[str]) -> list[Run]:
    """The image segmentor's training, then those of ``MODELS``, each before its smoothing."""

    def run(folder: Path, name: str, config: str, *keys: object, **options: Any) -> Run:
        overrides = (*map(str, keys), *opts)
        return Run(name, folder, TRAIN, f"quickstart/{config}", overrides, **options)

    start = run(output / "segformer", "the image segmentor", "segformer", "MODEL.WEIGHTS", "")
    runs = [start]
    for config, name in MODELS.items():
        folder = output / config
        training = run(
            *(folder, f"{name}, from there on", config, "TEST.SAVE_PREDICTIONS", True),
            *("MODEL.WEIGHTS", start.folder / "model_final.pth"),
            needs=(start,),
        )
        smoothed = run(
            *(folder / "smoothed", f"{name}, smoothed", config, "TEST.SMOOTHING", SMOOTHING),
            *("MODEL.WEIGHTS", folder / "model_final.pth"),
            eval_only=True,
            needs=(training,),
        )
        runs += [training, smoothed]
    return runs


def row_titles() -> list[str]:
    return [t for name in MODELS.values() for t in (name, f"{name}, smoothing {SMOOTHING:g}")]


def measure(run: Run) -> dict[str, float | None]:
    """The scores of a finished run; of a training also its parameters in millions and its time."""
    result = read_results(run.folder)
    metrics: dict[str, float | None] = {name: result.scores[DATASET][name] for name in METRICS}
    if result.parameters is not None:
        metrics |= {"parameters_M": result.parameters / 1e6, "time_s": run.seconds()}
    return metrics


def table(metrics: dict[str, dict[str, float | None]]) -> str:
    rows = [
        [
            title,
            *(f"{row[metric]:.2f}" for metric in METRICS),
            *(
                (f"{row['parameters_M']:.2f} M", f"{row['time_s']:.0f} s")
                if "time_s" in row
                else ()
            ),
        ]
        for title, row in metrics.items()
    ]
    header = ["", *METRICS, "parameters", "time"]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def report(output: Path) -> Path:
    """The page that compares both models, as they are."""
    models = [find_model(f"{name}={output / config}", DATASET) for config, name in MODELS.items()]
    words = [f"{model.name}={model.run}" for model in models]
    command = ["cffm", "report", "--dataset", DATASET, "--predictions", *words]
    options = ReportOptions(command=shlex.join([*command, "--output", str(output / "report")]))
    return make_report(Dataset.registered(DATASET), models, output / "report", options)


def preview(output: Path):
    """A few frames of the first validation video: input, truth and both predictions."""
    metadata = MetadataCatalog.get(DATASET)
    frames = [r for r in DatasetCatalog.get(DATASET) if r["frame_index"] in PREVIEW_FRAMES]
    frames = frames[: len(PREVIEW_FRAMES)]
    rows: list[list[np.ndarray]] = []
    shown: set[int] = set()
    for record in frames:
        stem = Path(record["file_name"]).stem
        truth = metadata.label_mapping(metadata.label_mapping.read(record["sem_seg_file_name"]))
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
