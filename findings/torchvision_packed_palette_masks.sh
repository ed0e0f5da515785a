#!/usr/bin/env bash
# torchvision 0.29.1: decode_image gives the packed bytes of a palette PNG of 1, 2 or 4 bits as its pixels.
#
# Guess: label maps are palette PNGs (Pascal VOC, DAVIS, YouTube-VOS). ImageReadMode.UNCHANGED leaves a
#   palette alone, so decode_image gives the class of every pixel, whatever the number of classes.
# Seen: true for palettes of more than 16 colours, which are stored in 8 bits. Pillow stores up to 16
#   colours in 4 bits, up to 4 in 2 and 2 in 1. Of those the tensor has the right shape and dtype, and
#   each row begins with the bytes as they are stored, two, four or eight pixels in each; what stands
#   behind them in the row is no pixel at all. Nothing is raised and nothing is logged. Grey PNGs of few bits are
#   unpacked; Pillow reads both kinds right.
# Why it matters: a data set of 20 classes works, one of 12 or a binary one trains on noise, and the
#   same file looks right in every viewer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.14.1 torchvision==0.29.1 pillow==12.3.0 numpy==2.4.6
cat >"$folder/look.py" <<'PYTHON'
import io

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

HEIGHT, WIDTH = 16, 24


def as_stored(labels: np.ndarray, bits: int) -> np.ndarray:
    """The bytes of each row: several pixels in one, the first in the highest bits."""
    pixels = np.unpackbits(labels[..., None], axis=-1)[..., 8 - bits :]
    return np.packbits(pixels.reshape(len(labels), -1), axis=1)


assert torchvision.__version__.startswith("0.29.1"), torchvision.__version__
random = np.random.default_rng(0)
for classes, bits in ((2, 1), (4, 2), (16, 4), (17, 8)):
    labels = random.integers(0, classes, (HEIGHT, WIDTH)).astype(np.uint8)
    image = Image.fromarray(labels, "P")
    image.putpalette([*range(classes)] * 3)
    file = io.BytesIO()
    image.save(file, "PNG")
    assert file.getvalue()[24] == bits, "the bit depth that Pillow chose"
    assert (np.asarray(Image.open(file)) == labels).all(), "Pillow reads the classes"
    data = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
    decoded = decode_image(data, ImageReadMode.UNCHANGED)
    assert decoded.shape == (1, HEIGHT, WIDTH) and decoded.dtype == torch.uint8
    decoded = decoded[0].numpy()
    stored = as_stored(labels, bits)
    assert (decoded[:, : stored.shape[1]] == stored).all(), "rows begin with the stored bytes"
    equal = (decoded == labels).mean()
    assert (equal == 1) == (bits == 8), equal
    verdict = "the classes" if bits == 8 else "stored bytes, not classes"
    print(f"{classes:2} colours, {bits} bits: decode_image gives {verdict}; first row {decoded[0, :6]}")
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/look.py"
