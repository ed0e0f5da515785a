#!/usr/bin/env bash
# torchmetrics.segmentation.MeanIoU is no mIoU: one stray pixel a frame costs a third of the score.
#
# Guess, written down before it was run: MeanIoU, fed frame by frame, gives the mIoU that VSPW,
# Cityscapes and ADE20K report (intersections and unions summed over all frames, then the mean over the
# classes of the truth), as torchmetrics' own JaccardIndex does.
#
# What happens (torchmetrics 1.9.0, torch 2.14.1): every frame and class counts once, whatever its size.
# The score is the mean over all pairs of frame and class that stand in the truth or in the prediction.
# Ten frames of 100x100 with two classes, all right but for one pixel in each, which is taken for a third
# class that the truth never has: mIoU is 0.9999, MeanIoU 0.6666. The false pixel's class has IoU 0 in
# each frame, with the weight of a class that fills half of it. Taken for the other of the two classes,
# the same pixel costs two hundredths of a point.
#
# Why it matters: video models make such specks in many frames, most of all of rare classes. With 124
# classes the number ranks models by their specks, and is neither the benchmark's nor comparable with a
# published one. Sum a confusion matrix over the data set (MulticlassJaccardIndex, or cffm score).
#
# Output seen:
#   torchmetrics 1.9.0
#   stray class: MeanIoU 0.6666, JaccardIndex over the classes of the truth 0.9999
#   other class: MeanIoU 0.9998, JaccardIndex over the classes of the truth 0.9998
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 torchmetrics==1.9.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import torchmetrics
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.segmentation import MeanIoU

print("torchmetrics", torchmetrics.__version__)
truth = torch.zeros(10, 100, 100, dtype=torch.long)
truth[:, 50:] = 1


def scores(wrong_class):
    predicted = truth.clone()
    predicted[:, 0, 0] = wrong_class
    mean_iou = MeanIoU(num_classes=3, input_format="index")
    jaccard = MulticlassJaccardIndex(num_classes=3, average=None)
    for frame, label in zip(predicted, truth):
        mean_iou.update(frame[None], label[None])
        jaccard.update(frame[None], label[None])
    return float(mean_iou.compute()), float(jaccard.compute()[:2].mean())


stray, other = scores(2), scores(1)
for name, (mean_iou, jaccard) in {"stray class": stray, "other class": other}.items():
    print(f"{name}: MeanIoU {mean_iou:.4f}, JaccardIndex over the classes of the truth {jaccard:.4f}")
assert abs(stray[0] - 2 / 3) < 1e-3 and stray[1] > 0.9998
assert abs(other[0] - other[1]) < 1e-6 and other[0] > 0.999
PYTHON
