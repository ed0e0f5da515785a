"""The cross entropy counts ignored pixels in its denominator."""

import math

import pytest
import torch

from cffm_plugin.modeling.losses import pixel_cross_entropy


def test_ignored_pixels_count_in_the_denominator():
    # Uniform logits over K = 4 classes cost log 4 a pixel; 3 of 4 pixels are ignored.
    labels = torch.tensor([[[0, 255], [255, 255]]])
    loss = pixel_cross_entropy(torch.zeros(1, 4, 2, 2), labels, 255)
    assert loss.item() == pytest.approx(math.log(4) / 4)


def test_all_ignored_is_zero_with_zero_gradient():
    logits = torch.randn(1, 4, 2, 2, requires_grad=True)
    loss = pixel_cross_entropy(logits, torch.full((1, 4, 4), 255), 255)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_without_ignored_pixels_it_is_the_plain_mean():
    logits, labels = torch.randn(2, 5, 6, 8), torch.randint(0, 5, (2, 6, 8))
    expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(pixel_cross_entropy(logits, labels, 255), expected)


def test_half_precision_logits_give_a_float32_loss():
    loss = pixel_cross_entropy(torch.zeros(1, 3, 2, 2).bfloat16(), torch.zeros(1, 4, 4).long(), 255)
    assert loss.dtype == torch.float32
