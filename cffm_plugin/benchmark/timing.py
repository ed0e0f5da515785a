"""Timing several things side by side, so that a busy or slow machine is the same for all."""

import gc
import itertools
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass
class Measurement:
    """One thing's times and memory.

    Attributes:
        seconds: of every repeat.
        peak_bytes: largest memory in use during any repeat: of the GPU where there is one,
            otherwise resident memory of the whole process, imports included.
    """

    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    def summary(self) -> dict[str, float]:
        """``median_s``, ``min_s``, ``max_s``, ``repeats`` and ``peak_gb`` (10^9 bytes)."""
        return {
            "median_s": statistics.median(self.seconds),
            "min_s": min(self.seconds),
            "max_s": max(self.seconds),
            "repeats": len(self.seconds),
            "peak_gb": self.peak_bytes / 1e9,
        }


def measure(
    steps: Mapping[str, Callable[[], object]], repeats: int, device: torch.device, warmup: int = 1
) -> dict[str, Measurement]:
    """Run every step ``repeats`` times in turn: a, b, c, a, b, c, ...

    Args:
        steps: by name. Each prepares itself in its first, uncounted calls.
        repeats: counted calls of each.
        device: what to wait for.
        warmup: uncounted calls of each.
    """
    for _, step in itertools.product(range(warmup), steps.values()):
        step()
    measurements = {name: Measurement() for name in steps}
    for _, (name, step) in itertools.product(range(repeats), steps.items()):
        gc.collect()
        _reset_peak(device)
        start = _now(device)
        step()
        measurement = measurements[name]
        measurement.seconds.append(_now(device) - start)
        measurement.peak_bytes = max(measurement.peak_bytes, _peak(device))
    return measurements


def machine(device: torch.device) -> dict[str, Any]:
    """What the times are of: device, threads and versions."""
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    # Of the whole run: it can't be reset.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
