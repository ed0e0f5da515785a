"""Fills the GPU table of docs/benchmarks.md; says whether the device computes what the CPU does.

    python -m lab.gpu_table --repeats 20 --json gpu.json

What does not fit into --seconds is left out, which its rows say.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from tabulate import tabulate

from cffm_plugin.benchmark import Benchmark, config_to_measure, machine, measure, random_clip
from cffm_plugin.files import write_json
from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.stopping import stops_raised

MIT = ("mit_b1", "mit_b0", "mit_b2", "mit_b5")
# Name of a model -> its config, and keys.
MODELS: dict[str, tuple[str, list[str]]] = {
    **{name: (f"vspw/cffm_{name}", []) for name in MIT},
    **{
        f"DINOv3 ViT-{size}": (
            "vspw/cffm_dinov3_vits16",
            ["MODEL.TIMM.NAME", f"vit_{size}_patch16_dinov3", "MODEL.TIMM.PRETRAINED", "False"],
        )
        for size in ("small", "base", "large")
    },
}
HEADER = ["model", "precision", "step", "median ms", "frames per second", "peak GB"]


@dataclass(frozen=True)
class Entry:
    """One way to run one model.

    Attributes:
        name: of the model, for the table.
        modes: of ``Benchmark``.
        autocast: half precision; None for float32.
        compile_mode: of ``torch.compile``; None for none.
        streams: at a time, in the mode "stream".
        with_peer: whether the peer is measured too.
        checkpointing: whether training keeps few activations.
    """

    name: str
    modes: tuple[str, ...] = ("stream", "image")
    autocast: torch.dtype | None = None
    compile_mode: str | None = None
    streams: int = 1
    with_peer: bool = False
    checkpointing: bool = False

    @property
    def precision(self) -> str:
        words = ["float32" if self.autocast is None else str(self.autocast).split(".")[-1]]
        if self.compile_mode is not None:
            words.append(f"compiled ({self.compile_mode or 'default'})")
        if self.streams > 1:
            words.append(f"{self.streams} streams")
        if self.checkpointing:
            words.append("checkpointing")
        return ", ".join(words)


def gpu_entries(names: Sequence[str], mit: Sequence[str]) -> list[Entry]:
    """What fills the table: the names that are in ``mit`` have a peer."""
    bfloat16 = torch.bfloat16
    entries = []
    for name in names:
        entries += [
            Entry(name, ("stream", "clip", "image"), with_peer=name in mit),
            Entry(name, autocast=bfloat16, with_peer=name in mit),
            Entry(name, ("stream",), bfloat16, streams=8),
            Entry(name, ("stream",), bfloat16, compile_mode="reduce-overhead"),
        ]
    first = names[0]
    entries.append(Entry(first, ("stream",), bfloat16, compile_mode=""))
    entries += [
        Entry(first, ("train",), autocast, checkpointing=checkpointing)
        for autocast in (None, bfloat16)
        for checkpointing in (False, True)
    ]
    return entries


def measure_entries(
    entries: Sequence[Entry],
    configs: dict[str, CfgNode],
    size: tuple[int, int],
    repeats: int = 20,
    budget: float = math.inf,
) -> Iterator[list[Any]]:
    """The rows of the table, one by one.

    Args:
        entries: what to measure, the most important first.
        configs: of the entries' names.
        size: height and width of frames.
        repeats: of every step.
        budget: seconds, after which entries are left out, which their rows say.
    """
    start = time.monotonic()
    for entry in entries:
        if time.monotonic() - start > budget:
            yield [entry.name, entry.precision, "left out: no time", "", "", ""]
            continue
        cfg = configs[entry.name].clone()
        cfg.MODEL.ACTIVATION_CHECKPOINTING = entry.checkpointing
        cfg.COMPILE.MODE = entry.compile_mode or ""
        benchmark = Benchmark(
            cfg,
            size,
            autocast=entry.autocast,
            compiled=entry.compile_mode is not None,
            streams=entry.streams,
        )
        steps = benchmark.steps(entry.modes, entry.with_peer, beside_float32=False)
        for name, measured in measure(steps, repeats, benchmark.device, warmup=3).items():
            summary = measured.summary()
            seconds = summary["median_s"]
            frames = entry.streams if name == "stream" else 1
            peak = f"{summary['peak_gb']:.2f}"
            yield [
                *(entry.name, entry.precision, name),
                *(f"{1000 * seconds:.1f}", f"{frames / seconds:.1f}", peak),
            ]
        del benchmark, steps
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@torch.no_grad()
def check_device(cfg: CfgNode, size: tuple[int, int] = (96, 160)) -> dict[str, float | bool]:
    """Whether the device of a config computes what the CPU does.

    Returns:
        ``logits``: the largest difference of a stream's logits from the CPU's, over their largest;
        ``stream is clip``: whether the stream's last frame is that of the clip, to the bit;
        ``finite losses``: of training under autocast, in bfloat16 and (on CUDA) float16.
    """
    torch.manual_seed(0)
    model: Any = build_model(cfg).eval()
    on_cpu_cfg = cfg.clone()
    on_cpu_cfg.MODEL.DEVICE = "cpu"
    on_cpu: Any = build_model(on_cpu_cfg).eval()
    on_cpu.load_state_dict(model.state_dict())
    offsets = cfg.MODEL.TEMPORAL.FRAME_OFFSETS
    generator = torch.Generator().manual_seed(0)
    length = 1 - min(offsets)
    frames = [torch.rand(3, *size, generator=generator) * 255 for _ in range(length)]
    streams = [StreamingSegmentor(m, frame_offsets=offsets) for m in (model, on_cpu)]
    for frame in frames:
        ours, expected = (stream.step(frame, output="logits").cpu() for stream in streams)
    clip = [frames[length - 1 + offset] for offset in offsets] + [frames[-1]]
    clip_logits = model([{"image": clip}])[0]["sem_seg"].cpu()
    return {
        "logits": float((ours - expected).abs().max() / expected.abs().max()),
        "stream is clip": bool(torch.equal(ours, clip_logits)),
        "finite losses": _losses_are_finite(cfg, model),
    }


@torch.enable_grad()
def _losses_are_finite(cfg: CfgNode, model: Any) -> bool:
    dtypes = [torch.bfloat16]
    if torch.device(cfg.MODEL.DEVICE).type == "cuda":
        dtypes.append(torch.float16)
    clip = random_clip(cfg)
    finite = True
    for dtype in dtypes:
        with torch.autocast(torch.device(cfg.MODEL.DEVICE).type, dtype=dtype):
            losses = model.train()([clip])
        sum(losses.values()).backward()
        finite = finite and all(math.isfinite(float(loss.detach())) for loss in losses.values())
    return finite


def run(args: argparse.Namespace) -> None:
    configs = {
        name: config_to_measure(config, [*keys, *args.opts])
        for name, (config, keys) in MODELS.items()
    }
    first = next(iter(configs.values()))
    print(json.dumps(machine(torch.device(first.MODEL.DEVICE))))
    print(json.dumps(check_device(first)), flush=True)
    rows = []
    entries = gpu_entries(list(configs), MIT)
    for row in measure_entries(entries, configs, tuple(args.size), args.repeats, args.seconds):
        print(*row, sep=" | ", flush=True)
        rows.append(row)
    print(tabulate(rows, HEADER, "pipe", disable_numparse=True))
    if args.json:
        write_json(args.json, rows)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs=2, default=(480, 864), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=440.0, help="in all (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table to it")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    args = parse_args(argv)
    with stops_raised():
        run(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
