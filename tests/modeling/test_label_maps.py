"""Label maps made without logits at full resolution are those that the logits give."""

import pytest
import torch

from cffm_plugin.modeling import CoarseLogits


def make_logits(kind, num_classes, height, width):
    generator = torch.Generator().manual_seed(height * width)
    if kind == "noise":
        return torch.randn(num_classes, height, width, generator=generator)
    # Regions of few classes, as a trained network gives them.
    coarse = torch.randn(1, num_classes, 3, 4, generator=generator)
    coarse -= torch.arange(num_classes).view(1, -1, 1, 1) / 4
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]


@pytest.mark.parametrize("kind", ["noise", "regions"])
@pytest.mark.parametrize(
    "cells, embedding, stride, image, output",
    [
        ((12, 16), (24, 32), 4, (96, 128), (96, 128)),  # video logits, no last resize
        ((12, 16), (24, 32), 4, (96, 128), (97, 121)),  # as VSPW: 864 wide, 853 wanted
        ((24, 32), (24, 32), 4, (91, 126), (200, 300)),  # image logits, padded, a large output
        ((12, 15), (25, 31), 4, (97, 121), (33, 40)),  # odd, and a small output
        ((17, 9), (17, 9), 1, (17, 9), (17, 9)),  # no resize at all
        ((16, 16), (8, 8), 8, (64, 64), (64, 50)),  # an embedding coarser than CFFM's
        ((1, 1), (1, 2), 4, (3, 5), (3, 5)),  # smaller than any window
        ((2, 3), (4, 7), 4, (16, 26), (1, 1)),
    ],
)
def test_label_maps_are_the_argmax_of_the_full_logits(
    kind, cells, embedding, stride, image, output
):
    values = make_logits(kind, 9, *cells)
    coarse = CoarseLogits(values, embedding, stride, image, output)
    labels, expected = coarse.label_map(), coarse.full_resolution().argmax(dim=0)
    assert labels.shape == expected.shape == output and labels.dtype == torch.uint8
    assert (labels != expected).float().mean() <= 1e-5


def test_a_class_that_leads_nowhere_before_resizing_can_win_between():
    values = torch.tensor([[10.0, 0.0], [0.0, 10.0], [9.0, 9.0]]).view(3, 1, 2)
    coarse = CoarseLogits(values, (1, 2), 8, (8, 16), (8, 16))
    assert (coarse.label_map() == 2).any()


def test_more_than_256_classes_have_labels_too():
    values = torch.zeros(300, 2, 2)
    values[299] = 1
    assert (CoarseLogits(values, (2, 2), 4, (8, 8), (8, 8)).label_map() == 299).all()


def test_logits_that_are_not_finite_do_not_stop_it():
    values = torch.full((3, 4, 4), float("nan"))
    assert CoarseLogits(values, (4, 4), 4, (16, 16), (16, 16)).label_map().shape == (16, 16)
