#!/usr/bin/env bash
# torch 2.14.1 (oneDNN 3.12.0): on a CPU with AMX some bfloat16 convolutions are wrong without a word.
#
# Guess: a bfloat16 convolution differs from float32's by rounding, under 1 %, on every CPU.
# Seen: on Xeons with amx_bf16, convolutions whose kernel is as large as their stride (4, 8, 12 or 16), with
#   input channels a multiple of 4, below 32, whose product with the kernel's width is a multiple of 32, are
#   off by more than their own size (relative difference up to 1.2). Nothing is raised.
#   ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 makes them right on the same machine, and on CPUs that have
#   AVX512-BF16 without AMX they are right as they are.
# Why it matters: the spatial reduction of MiT's attention and every patch embedding are such convolutions;
#   a segmentor that is right on a laptop and on most servers gives noise on one kind of server.
#
# On a CPU without AMX this shows the other half alone, that the same convolutions are right there, and says so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
cat >"$folder/look.py" <<'PYTHON'
import sys

import torch

assert torch.__version__.startswith("2.14.1"), torch.__version__
torch.manual_seed(0)
SHAPES = [
    (channels, side)
    for side in (4, 8, 12, 16)
    for channels in range(4, 32, 4)
    if channels * side % 32 == 0
]


def difference(channels: int, side: int) -> float:
    """Of bfloat16's result from float32's, relative to its norm."""
    layer = torch.nn.Conv2d(channels, 32, side, stride=side)
    images = torch.randn(2, channels, 8 * side, 8 * side)
    with torch.no_grad():
        expected = layer(images)
        half = layer.bfloat16()(images.bfloat16()).float()
    return float((half - expected).norm() / expected.norm())


differences = {shape: difference(*shape) for shape in SHAPES}
worst = max(differences, key=differences.get)
wrong = [shape for shape, value in differences.items() if value > 0.1]
print(
    f"{sys.argv[1]}: {len(wrong)} of {len(SHAPES)} wrong; the worst, {worst[0]} channels and a kernel of "
    f"{worst[1]}, is off by {differences[worst]:.4f}"
)
raise SystemExit(bool(wrong))
PYTHON
look() { "$folder/venv/bin/python" -W ignore "$folder/look.py" "$1"; }
ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 look "without AMX"
if grep -qw amx_bf16 /proc/cpuinfo; then
    if look "with AMX"; then
        echo "This machine's AMX computes them right: the behaviour has changed." >&2
        exit 1
    fi
else
    echo "This CPU has no AMX, so that what is wrong with it can't be seen here."
fi
