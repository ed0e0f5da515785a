#!/bin/sh
# torch 2.14.1 on CPUs with AVX512-BF16: conv2d in bfloat16 is wrong, without a word, where the map is as wide as the kernel.
#
# Guess: a bfloat16 convolution differs from float32 by rounding, about 0.4 %, on every map, as it does in other shapes.
# What happens: with kernel = stride (4, 8, 12, 14, 16), no padding, channels last (what a transformer's tokens are as a
# map), fewer than 32 input channels whose product with the kernel's width is a multiple of 32, and one kernel across
# (8 x 8 or 40 x 8 pixels for a kernel of 8), the result has nothing to do with it: the relative difference is 1 to 1.6.
# A map that is two kernels wide is right (on CPUs with AMX, wider ones are wrong as well). ONEDNN_MAX_CPU_ISA=AVX512_CORE
# is right: it is a kernel of oneDNN 3.12.0.
# The second half: the weight gradient of a padded strided convolution (3x3, stride 2: every ResNet and MiT) on a map one
# pixel wide is what lay in memory: up to 1e38 or infinite, anew in each call. Here ONEDNN_MAX_CPU_ISA=AVX2 is right.
#
# Why it matters to video segmentation: spatial reductions of MiT (SegFormer), PVT and Twins are such convolutions, bfloat16
# is what makes a CPU stream faster, and nothing warns: small frames or crops become noise, and training gets a gradient
# that is no gradient. Whoever compares at one size alone does not see it at another.
#
# Seen: torch 2.14.1 with oneDNN 3.12.0, Intel Xeon with avx512_bf16 and no AMX.
#
# On a CPU without avx512_bf16 it can't be shown: exit 3 and a line that says so, which is neither success nor a change.
set -eu
if ! grep -qw avx512_bf16 /proc/cpuinfo; then
    echo "this CPU has no avx512_bf16, which the finding is about: nothing was tried" >&2
    exit 3
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6
cat > "$folder/try.py" <<'END'
import sys

import torch
import torch.nn.functional as F


def operands(batch, channels, out, kernel, size):
    torch.manual_seed(0)
    x = torch.randn(batch, channels, *size).bfloat16().to(memory_format=torch.channels_last)
    weight = (torch.randn(out, channels, kernel, kernel) / (channels * kernel**2) ** 0.5).bfloat16()
    return x, weight


def relative(given, exact):
    return float((given.float() - exact).norm() / exact.norm())


def forward(channels, kernel, size):
    x, weight = operands(1, channels, channels, kernel, size)
    exact = F.conv2d(x.float(), weight.float(), stride=kernel)
    return relative(F.conv2d(x, weight, stride=kernel), exact)


def weight_gradient(size):
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        x, weight = (t.to(dtype) for t in operands(1, 64, 64, 3, size))
        weight.requires_grad_()
        F.conv2d(x, weight, stride=2, padding=1).sum().backward()
        gradients.append(weight.grad)
    return relative(gradients[1], gradients[0])


narrow = {(c, k): forward(c, k, (5 * k, k)) for c, k in ((16, 4), (8, 8), (16, 8), (24, 12), (4, 16))}
wide = {(c, k): forward(c, k, (5 * k, 2 * k)) for c, k in narrow}
print("forward, one kernel wide: ", {key: round(value, 3) for key, value in narrow.items()})
print("forward, two kernels wide:", {key: round(value, 3) for key, value in wide.items()})
# Uninitialised memory may hold zeros: several tries after other tensors have come and gone.
of_pixel = []
for _ in range(50):
    filled = [torch.full((64, 64, 3, 3), 3e38).bfloat16() for _ in range(4)]
    del filled
    of_pixel.append(weight_gradient((13, 1)))
of_pixel = max(of_pixel, key=lambda value: (value != value, value))
print("weight gradient, 3x3 of stride 2: 13 x 1 pixels", of_pixel, ", 13 x 2 pixels", weight_gradient((13, 2)))
mode = sys.argv[1]
assert all(value < 0.01 for value in wide.values()) or mode == "unset", wide
if mode == "unset":
    assert all(value > 0.5 for value in narrow.values()), narrow
else:
    assert all(value < 0.01 for value in narrow.values()), narrow
assert (of_pixel < 0.05) == (mode == "AVX2"), of_pixel
END
echo "as it comes:"
env -u ONEDNN_MAX_CPU_ISA OMP_NUM_THREADS=1 "$folder/venv/bin/python" "$folder/try.py" unset
for limit in AVX512_CORE AVX2; do
    echo "ONEDNN_MAX_CPU_ISA=$limit:"
    ONEDNN_MAX_CPU_ISA=$limit OMP_NUM_THREADS=1 "$folder/venv/bin/python" "$folder/try.py" $limit
done
echo "seen as described"
