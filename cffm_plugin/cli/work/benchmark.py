"""What `cffm benchmark` does, with the arguments of ``cffm_plugin.cli.benchmark``."""

import argparse
import json

import torch

from ...benchmark import Benchmark, config_to_measure, machine, measure, ratios_of, tables_of
from ...files import write_json


def run(args: argparse.Namespace) -> None:
    benchmark = Benchmark(
        config_to_measure(args.config_file, args.opts),
        tuple(args.size),
        autocast=getattr(torch, args.autocast) if args.autocast else None,
        channels_last=args.channels_last,
        compiled=args.compile,
        streams=args.streams,
    )
    steps = benchmark.steps(args.modes, args.peer)
    measured = measure(steps, args.repeats, benchmark.device, args.warmup)
    summaries = {name: m.summary() for name, m in measured.items()}
    options = ("size", "autocast", "channels_last", "compile", "streams")
    result = {
        "config": args.config_file,
        "machine": machine(benchmark.device),
        "options": {name: getattr(args, name) for name in options},
        "model": {"parameters": benchmark.parameters(), "flops": benchmark.flops},
        "modes": {n: s for n, s in summaries.items() if not n.startswith("peer")},
        "peer": {n: s for n, s in summaries.items() if n.startswith("peer")},
        "ratios": ratios_of(summaries),
    }
    print(json.dumps(result["machine"]))
    print(tables_of(result))
    if args.json:
        write_json(args.json, result)
