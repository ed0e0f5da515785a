"""Makes the measured table of docs/temporal-modules.md: what each temporal module keeps and costs.

    python -m lab.temporal_table --height 480 --width 864 --repeats 5

Of each, on MiT-B1 with random weights: the bytes that a stream keeps of the past, the multiply-adds
of a stream's step, and its time, all of them taking turns in one process, over that of CFFM.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

import cffm_plugin
from cffm_plugin.benchmark import machine, measure
from cffm_plugin.core import StreamingSegmentor
from cffm_plugin.core.nested import tensors_in

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "CFFM": ("cffm_mit_b1", {}),
    "CFFMRecall": ("cffm_recall_mit_b1", {}),
    "CFFMMemory": ("cffm_memory_mit_b1", {}),
    "MRCFA": ("mrcfa_mit_b1", {}),
    "TV3S, clip": ("tv3s_mit_b1", {"mode": "clip"}),
    "TV3S, stream": ("tv3s_mit_b1", {"mode": "stream"}),
}
BASE = "CFFM"
WARM_UP = 10  # frames, after which every stream has all of its past
HEADER = ("temporal module", "kept by a stream, MB", "multiply-adds of a step, G", "step / CFFM's")


def kept_bytes(model: Any, frames: Sequence[torch.Tensor]) -> int:
    """Of the past after these frames, each (3, H, W)."""
    pasts = [model.first_past(model.frame_offsets)]
    with torch.inference_mode():
        for frame in frames:
            _, pasts = model.advance(model.encode([frame]), pasts)
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors_in(pasts)}
    return sum(storage.nbytes() for storage in storages.values())


def multiply_adds(step: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() // 2


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=864)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--modules", nargs="+", choices=MODELS, default=list(MODELS))
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    frames = torch.randint(0, 256, (WARM_UP, 3, args.height, args.width)).float().unbind()
    steps: dict[str, Callable[[], object]] = {}
    kept, counted = {}, {}
    for name in args.modules:
        model_name, options = MODELS[name]
        model = cffm_plugin.create_model(model_name, 124, **options).eval()
        kept[name] = kept_bytes(model, frames)
        stream = StreamingSegmentor(model)
        for frame in frames:
            stream.step(frame)
        steps[name] = partial(stream.step, frames[0])
        counted[name] = multiply_adds(steps[name])
    times = measure(steps, args.repeats, torch.device("cpu"))
    medians = {name: statistics.median(found.seconds) for name, found in times.items()}
    base = medians.get(BASE, medians[args.modules[0]])
    rows = []
    for name in args.modules:
        megabytes, giga = kept[name] / 1e6, counted[name] / 1e9
        rows.append((name, f"{megabytes:.1f}", f"{giga:.1f}", f"{medians[name] / base:.2f}"))
    print(machine(torch.device("cpu")))
    print(tabulate(rows, HEADER, tablefmt="github", disable_numparse=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
