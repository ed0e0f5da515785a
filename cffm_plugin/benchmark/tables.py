"""Tables and ratios of what was measured."""

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

# Name of a ratio -> what is divided by what.
RATIOS = {
    "stream/peer": ("stream", "peer"),
    "stream/peer_float32": ("stream", "peer_float32"),
    "stream_float32/stream": ("stream_float32", "stream"),
    "stream/image": ("stream", "image"),
    "clip/stream": ("clip", "stream"),
    "backbone/peer_backbone": ("backbone", "peer_backbone"),
    "train/plain_backbone_clip": ("train", "plain_backbone_clip"),
}


def ratios_of(summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The ratios of medians whose two sides were measured."""
    return {
        name: summaries[a]["median_s"] / summaries[b]["median_s"]
        for name, (a, b) in RATIOS.items()
        if a in summaries and b in summaries
    }


def tables_of(result: Mapping[str, Any]) -> str:
    """All that was measured, for people."""
    times = [
        [name, s["median_s"], s["min_s"], s["max_s"], s["repeats"], s["peak_gb"]]
        for name, s in {**result["modes"], **result.get("peer", {})}.items()
    ]
    header = ["step", "median s", "least", "most", "repeats", "peak GB"]
    parts = [tabulate(times, header, "pipe", floatfmt=".3f")]
    if result["ratios"]:
        parts.append(tabulate(result["ratios"].items(), ["ratio", ""], "pipe", floatfmt=".2f"))
    model = [["parameters", f"{result['model']['parameters'] / 1e6:.2f} M"]]
    flops = result["model"]["flops"].items()
    model += [[f"multiply-adds, {name}", f"{count / 1e9:.1f} G"] for name, count in flops]
    parts.append(tabulate(model, (), "plain", disable_numparse=True))
    return "\n\n".join(parts)
