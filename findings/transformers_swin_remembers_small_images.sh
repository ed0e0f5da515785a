#!/usr/bin/env bash
# transformers 5.23.0: a SwinModel remembers a small image, and all later frames get other features.
#
# Guess: a model in evaluation mode is a function: the features of a frame of 448x448 are the same before and
#   after a frame of 224x224, the size that it is made for.
# Seen: wherever a map is no larger than a window, the blocks' shift_size becomes 0 as an attribute, and nothing
#   sets it back. After one frame of 224x224 the last stage never shifts its windows again: the same frame of
#   448x448 differs by 8 % for the rest of the process, without a word. A fresh copy agrees to the bit.
#   SwinBackbone, under UperNet and Mask2Former, always partitions and is not affected.
#     the same frame twice:              0.000
#     after one frame of 224x224:        0.081
#     a fresh model, never shown 224:    0.000
#     windows of the last stage shift by [0, 3] before, [0, 0] after
# Why it matters: a decoder on a Swin encoder's hidden states that sees thumbnails, crops or a warm-up of 224 pixels
#   beside whole frames depends on what was shown before; two processes with another order of frames disagree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 transformers==5.23.0 "numpy<3"
cat > "$folder/swin.py" <<'PYTHON'
import copy

import torch
from transformers import SwinConfig, SwinModel

torch.manual_seed(0)
model = SwinModel(SwinConfig(embed_dim=48, depths=[2, 2, 2, 2], num_heads=[2, 4, 8, 16])).eval()
for name, parameter in model.named_parameters():
    if "bias_table" in name:  # they start at zero, as if windows had no positions
        torch.nn.init.normal_(parameter)
fresh = copy.deepcopy(model)
frame, thumbnail = torch.randn(1, 3, 448, 448), torch.randn(1, 3, 224, 224)


def shifts():
    blocks = [m for m in model.modules() if hasattr(m, "set_shift_and_window_size")]
    return [int(block.shift_size) for block in blocks[-2:]]


def difference(one, other):
    return float((one - other).norm() / one.norm())


with torch.no_grad():
    before, shifts_before = model(frame).last_hidden_state, shifts()
    twice = difference(before, model(frame).last_hidden_state)
    model(thumbnail)
    after = difference(before, model(frame).last_hidden_state)
    of_fresh = difference(before, fresh(frame).last_hidden_state)
print(f"the same frame twice:              {twice:.3f}")
print(f"after one frame of 224x224:        {after:.3f}")
print(f"a fresh model, never shown 224:    {of_fresh:.3f}")
print(f"windows of the last stage shift by {shifts_before} before, {shifts()} after")
assert twice == of_fresh == 0 and after > 0.05
assert shifts_before == [0, 3] and shifts() == [0, 0]
PYTHON
"$folder/venv/bin/python" "$folder/swin.py"
