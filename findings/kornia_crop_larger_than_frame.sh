#!/usr/bin/env bash
# kornia 0.9.0: RandomCrop larger than the frame stretches frame and mask, and mixes the mask's labels.
#
# Guess: a crop of 40x40 of a frame of 32x32 is an error (CenterCrop's is), or pads (pad_if_needed is False,
#   so it should not). Masks are sampled nearest, as under every other transform of AugmentationSequential.
# Seen: the frame is stretched to 40x40 without a word, and so is its mask, bilinearly: labels {0, 3, 255}
#   become fractions between them, which as integers are classes that no pixel has (28, 229). A side that fits is
#   not stretched. With pad_if_needed=True it pads, and the mask keeps its labels (its border is
#   class 0, not void).
# Why it matters: videos of a data set differ in size, and one that is smaller than the crop trains on labels
#   that do not exist, and on another aspect ratio.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 kornia==0.9.0 numpy==2.4.6
cat >"$folder/look.py" <<'PYTHON'
import kornia
import torch
from kornia.augmentation import AugmentationSequential, CenterCrop, RandomCrop, VideoSequential

assert kornia.__version__ == "0.9.0", kornia.__version__
torch.manual_seed(0)
LABELS = {0.0, 3.0, 255.0}
clip = torch.rand(1, 2, 3, 32, 32)  # (B, T, C, H, W)
masks = torch.zeros(1, 2, 1, 32, 32)
masks[..., 10:20, :] = 3
masks[..., 20:, :] = 255


def labels_after(crop) -> set[float]:
    transform = AugmentationSequential(
        VideoSequential(crop, data_format="BTCHW"), data_keys=["input", "mask"]
    )
    frames, labels = transform(clip, masks)
    assert frames.shape[-2:] == labels.shape[-2:] == crop.flags["size"]
    return set(labels.unique().tolist())


smaller = labels_after(RandomCrop((24, 24)))
larger = labels_after(RandomCrop((40, 40)))
padded = labels_after(RandomCrop((40, 40), pad_if_needed=True))
assert smaller <= LABELS and padded <= LABELS
assert len(larger - LABELS) > 3 and 28 in {int(value) for value in larger}
print(f"crop of 24x24: {sorted(smaller)}")
print(f"crop of 40x40 of frames of 32x32: {sorted(round(value, 1) for value in larger)}")
print(f"the same with pad_if_needed: {sorted(padded)}")

ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
stretched = RandomCrop((40, 40))(ramp)
steps = stretched[0, 0, 20, 2:-2].diff()
assert torch.allclose(steps, torch.full_like(steps, 32 / 40 / 31), atol=1e-4)
print("a ramp over 32 columns is a ramp over 40: stretched")
try:
    CenterCrop((40, 40))(ramp)
except AssertionError as error:
    print(f"CenterCrop: {error}")
else:
    raise SystemExit("CenterCrop took it")
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/look.py"
