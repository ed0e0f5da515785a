"""What `cffm benchmark` does, with the arguments of ``cffm_plugin.cli.benchmark``."""

import argparse
import json
import platform
from typing import Any

import torch

from ...benchmark import (
    DATA_MODES,
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
from ...benchmark.data_modes import generated_dataset, measure_dataloader, measure_evaluation
from ...files import write_json
from ..benchmark import MIT, SUITES

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
        write_json(args.json, rows)


def run(args: argparse.Namespace) -> None:
    if args.suite:
        return run_suite_of(args)
    cfg = config_to_measure(args.config_file, args.opts)
    benchmark = Benchmark(
        cfg,
        tuple(args.size),
        autocast=getattr(torch, args.autocast) if args.autocast else None,
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
        write_json(args.json, result)


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
