"""Makes the table of docs/segmenters.md: every segmentor of the libraries, tried.

    python -m lab.segmentor_table

Nets are tiny and their weights random, so it takes minutes. Of each: what the sides of images are
padded to, where it is taken apart, the largest difference of the untrained video segmentor to the
library's own scores, relative to their range, over images of several sizes; or its error.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

import cffm_plugin

from .segmentor_zoo import (
    NUM_CLASSES,
    SMP,
    TRANSFORMERS,
    Size,
    make_smp,
    straight,
    with_visible_logits,
)

TORCHVISION = (
    "fcn_resnet50",
    "deeplabv3_resnet50",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)
HEADER = ("segmentor", "sides padded to", "embedding: channels, stride", "difference at step 0")


def row_of(
    name: str,
    net: nn.Module,
    scores: Callable[[Any, Size], Tensor],
    sizes: Sequence[Size],
    options: dict[str, Any],
) -> tuple[str, ...]:
    """A row of the table."""
    try:
        model = cffm_plugin.wrap(net, num_heads=4, depth=1, **options).eval()
    except ValueError as error:
        return name, "", "", f"refused: {str(error).split('. Pass ')[0].rstrip('.')}"
    backbone: Any = model.backbone
    square = backbone.padding_constraints.get("square_size")
    unit = backbone.size_divisibility
    padded = f"{square}x{square}, its one size" if square else str(max(1, unit))
    difference = max(_difference(model, scores, size) for size in sizes)
    tried = ", ".join(f"{height}x{width}" for height, width in sizes)
    where = f"{model.head.channels}, {model.head.stride}"
    return name, padded, where, f"{difference:.0e} ({tried})" if difference else f"0 ({tried})"


@torch.no_grad()
def _difference(model: Any, scores: Callable[[Any, Size], Tensor], size: Size) -> float:
    generator = torch.Generator().manual_seed(0)
    clip = torch.randint(0, 256, (1, 4, 3, *size), generator=generator).float()
    batch, _ = model.normalise_and_pad([clip[0, -1]])
    padded = (batch.shape[-2], batch.shape[-1])
    expected = scores(model.backbone.net(batch), padded)[:, :, : size[0], : size[1]]
    difference = (model(clip).logits - expected).abs().max()
    return float(difference / (expected.max() - expected.min()))


def tables() -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Of every library: its name and version, and rows."""
    from torchvision.models import segmentation

    def make(name: str) -> nn.Module:
        net = getattr(segmentation, name)(
            weights=None, weights_backbone=None, num_classes=NUM_CLASSES
        )
        return with_visible_logits(net)

    sizes = ((64, 96), (75, 101))
    yield (
        f"torchvision {version('torchvision')}",
        [
            row_of(name, make(name), lambda output, size: output["out"], sizes, {})
            for name in TORCHVISION
        ],
    )
    yield (
        f"segmentation_models_pytorch {version('segmentation_models_pytorch')}",
        [row_of(name, make_smp(name), straight, sizes, {}) for name, (_, sizes) in SMP.items()],
    )
    rows = []
    for name, specimen in TRANSFORMERS.items():
        net = with_visible_logits(specimen.make())
        full = f"{name} ({type(net).__name__})"
        rows.append(row_of(full, net, specimen.scores, specimen.sizes, specimen.options))
    yield f"transformers {version('transformers')}", rows


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(argv)
    for library, rows in tables():
        print(f"### {library}\n")
        for cells in (HEADER, ("---",) * len(HEADER), *rows):
            print(f"| {' | '.join(cells)} |")
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
