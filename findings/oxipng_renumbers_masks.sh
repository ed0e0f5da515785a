#!/usr/bin/env bash
# oxipng 9.1.1 (PyPI pyoxipng) at its default level: a lossless optimisation gives index masks other class numbers.
#
# Guess: "lossless" means that any reader gives the same array before and after, so that a data set of grey
#   index masks may be made smaller by an optimiser, which sites and build steps run over all PNGs.
# Seen: the picture stays, the stored numbers don't. A grey mask with the values 0, 7, 11 becomes a palette
#   of three greys, and numpy.asarray(PIL.Image.open(...)) then gives 0, 1, 2; 0 and 255 become one bit, and
#   Pillow gives 0 and 1 (False, True); 0, 85, 170, 255 become two bits of grey, which Pillow does scale back. OpenCV
#   (IMREAD_GRAYSCALE) gives the old values in all cases. It is done file by file, by the values that occur: with 7 missing, 11
#   is 1 and no longer 2. With more than a handful of values nothing is changed. No size and no picture
#   in a viewer shows it.
# Why it matters: in masks of video, few classes are in a frame. After such a run a part of the frames has
#   other class numbers (void 255 becomes class 1), a network trains on them without an error, and one
#   toolbox (OpenCV) scores the same files as another (Pillow) does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pyoxipng==9.1.1 pillow==12.3.0 numpy==2.4.6 opencv-python-headless==5.0.0.93
cat >"$folder/look.py" <<'PYTHON'
import cv2
import numpy as np
import oxipng
from PIL import Image

# values of a mask -> what Pillow gives after the optimisation
EXPECTED = {
    (0, 7, 11): [0, 1, 2],
    (0, 11): [0, 1],
    (0, 255): [0, 1],
    (0, 1, 255): [0, 1, 2],
    (0, 85, 170, 255): [0, 85, 170, 255],
    (*range(12), 255): [*range(12), 255],
}
random = np.random.default_rng(0)
for values, expected in EXPECTED.items():
    blocks = random.permutation(np.resize(np.array(values, np.uint8), 16 * 16)).reshape(16, 16)
    labels = blocks.repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(labels).save("mask.png")
    oxipng.optimize("mask.png", "smaller.png")
    with Image.open("smaller.png") as image:
        mode, by_pillow = image.mode, np.asarray(image).astype(np.uint8)
        as_shown = np.asarray(image.convert("L"))
    by_opencv = cv2.imread("smaller.png", cv2.IMREAD_GRAYSCALE)
    print(f"{list(values)}: mode {mode}, Pillow {np.unique(by_pillow).tolist()}, "
          f"OpenCV {np.unique(by_opencv).tolist()}")
    assert np.array_equal(as_shown, labels)  # the picture is the same
    assert np.array_equal(by_opencv, labels)
    assert np.unique(by_pillow).tolist() == expected, (values, np.unique(by_pillow))
print("as described")
PYTHON
cd "$folder"
"$folder/venv/bin/python" look.py
