"""Measures how fast a config's model is, with random weights, side by side in one process.

    cffm benchmark --config-file vspw/cffm_mit_b1 \\
        --modes stream clip image backbone --peer --json b1.json
    cffm benchmark --config-file vspw/cffm_mit_b1 --modes train
    cffm benchmark --config-file vspw/cffm_mit_b0 --modes evaluate

The steps are run in turn, and their medians are compared; cffm_plugin/benchmark/modes.py says what
a step is. --peer adds SegFormer of the library transformers in the same size, image by image.
`dataloader` and `evaluate` work on a small generated dataset.
"""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..benchmark import (
    DATA_MODES,
    MODES,
    Benchmark,
    check_device,
    config_to_measure,
    gpu_entries,
    measure,
    ratios_of,
    run_suite,
    table,
    tables_of,
)
from ..benchmark.data_modes import (
    generated_dataset,
    measure_dataloader,
    measure_evaluation,
)
from ..files import write_text
from ..stopping import stops_raised

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


MIT = ("mit_b1", "mit_b0", "mit_b2", "mit_b5")
# Suite -> name of a model -> its config, and keys.
SUITES: dict[str, dict[str, tuple[str, list[str]]]] = {
    "gpu": {
        **{name: (f"vspw/cffm_{name}", []) for name in MIT},
        **{
            f"DINOv3 ViT-{size}": (
                "vspw/cffm_dinov3_vits16",
                ["MODEL.TIMM.NAME", f"vit_{size}_patch16_dinov3", "MODEL.TIMM.PRETRAINED", "False"],
            )
            for size in ("small", "base", "large")
        },
    }
}
SUITE_SECONDS = 440.0  # after which entries are left out: a lent GPU is not there for long


def run_suite_of(args: argparse.Namespace) -> None:
    """Print the table of a suite and whether the device computes what the CPU does."""
    configs = {}
    for name, (config, keys) in SUITES[args.suite].items():
        configs[name] = config_to_measure(config, [*keys, *args.opts])
    first = next(iter(configs.values()))
    print(json.dumps(machine(torch.device(first.MODEL.DEVICE))))
    print(json.dumps(check_device(first)), flush=True)
    entries = gpu_entries(list(configs), MIT)
    rows = []
    for row in run_suite(entries, configs, tuple(args.size), args.repeats, SUITE_SECONDS):
        print(*row, sep=" | ", flush=True)
        rows.append(row)
    print(table(rows))
    if args.json:
        write_text(args.json, json.dumps(rows, indent=1) + "\n")


def run(args: argparse.Namespace) -> None:
    cfg = config_to_measure(args.config_file, args.opts)
    benchmark = Benchmark(
        cfg,
        tuple(args.size),
        autocast=DTYPES.get(args.autocast),
        channels_last=args.channels_last,
        compiled=args.compile,
        streams=args.streams,
    )
    steps = benchmark.steps([m for m in args.modes if m not in DATA_MODES], args.peer)
    measured = measure(steps, args.repeats, benchmark.device, args.warmup)
    summaries: dict[str, Any] = {name: m.summary() for name, m in measured.items()}
    if any(mode in DATA_MODES for mode in args.modes):
        summaries |= measure_data(args, benchmark)
    result = {
        "config": args.config_file,
        "machine": machine(benchmark.device),
        "options": {
            name: getattr(args, name)
            for name in ("size", "autocast", "channels_last", "compile", "streams")
        },
        "model": {"parameters": benchmark.parameters(), "flops": benchmark.flops},
        "modes": {n: s for n, s in summaries.items() if not n.startswith("peer")},
        "peer": {n: s for n, s in summaries.items() if n.startswith("peer")},
        "ratios": ratios_of(summaries),
    }
    print(json.dumps(result["machine"]))
    print(tables_of(result))
    if args.json:
        write_text(args.json, json.dumps(result, indent=1) + "\n")


def measure_data(args: argparse.Namespace, benchmark: Benchmark) -> dict[str, Any]:
    height, width = args.size
    with generated_dataset(benchmark.cfg, (height, width * 853 // 864), args.frames) as cfg:
        summaries = {}
        if "dataloader" in args.modes:
            summaries["dataloader"] = measure_dataloader(cfg, clips=max(3, args.repeats))
        if "evaluate" in args.modes:
            summaries["evaluate"] = measure_evaluation(cfg, benchmark.model, args.repeats)
        return summaries


def machine(device: torch.device) -> dict[str, Any]:
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config-file")
    what.add_argument(
        "--suite", choices=SUITES, help="all models and modes of a table of docs/benchmarks.md"
    )
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["stream", "clip", "image"])
    parser.add_argument("--peer", action="store_true", help="also transformers' SegFormer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to it")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 864), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--frames", type=int, default=20, help="per video, of `evaluate`")
    parser.add_argument("--autocast", choices=DTYPES, help="half precision, beside float32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile backbone and CFFM")
    parser.add_argument("--streams", type=int, default=1, help="at a time, of `stream`")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    args = parse_args(argv)
    try:
        with stops_raised():
            run_suite_of(args) if args.suite else run(args)
    except OSError as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
