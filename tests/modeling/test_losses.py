"""The cross entropy counts ignored pixels in its denominator."""

import math

import pytest
import torch

from cffm_plugin.core import label_maps
from cffm_plugin.core.losses import pixel_cross_entropy


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


@pytest.mark.parametrize("cells, size", [((5, 7), (20, 28)), ((6, 6), (23, 31)), ((9, 8), (4, 5))])
def test_loss_and_gradient_are_those_of_plain_resizing_and_cross_entropy(cells, size, monkeypatch):
    monkeypatch.setitem(label_maps._BAND_BYTES, "cpu", 3000)  # several bands to a stripe
    torch.manual_seed(0)
    logits = torch.randn(2, 7, *cells, dtype=torch.float64).float().requires_grad_()
    labels = torch.randint(0, 7, (2, *size))
    labels[0, :2] = 255
    ours = pixel_cross_entropy(logits, labels, 255)
    (gradient,) = torch.autograd.grad(3 * ours, logits)

    full = torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)
    plain = torch.nn.functional.cross_entropy(full, labels, ignore_index=255, reduction="sum")
    plain = plain / labels.numel()
    (expected,) = torch.autograd.grad(3 * plain, logits)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)


def test_a_label_that_is_no_class_is_an_error():
    with pytest.raises(ValueError, match=r"0\.\.3 or 255, got 0\.\.4"):
        pixel_cross_entropy(torch.zeros(1, 4, 2, 2), torch.tensor([[[0, 4], [1, 255]]]), 255)
