"""CFFM++'s block, and which frames prototypes are made of."""

import pytest
import torch

from cffm_plugin.core import PrototypeBlock, prototype_frames


@pytest.fixture
def block():
    torch.manual_seed(0)
    return PrototypeBlock(16, num_heads=4).eval()


def test_every_position_is_refined_alone(block):
    """No windows: a position's result does not depend on the other positions."""
    frame, prototypes = torch.randn(2, 16, 5, 9), torch.randn(2, 7, 16)
    with torch.no_grad():
        whole = block(frame, prototypes)
        corner = block(frame[:, :, 2:4, 3:5], prototypes)
    torch.testing.assert_close(whole[:, :, 2:4, 3:5], corner, rtol=0, atol=1e-5)


def test_order_and_repetition_of_prototypes_do_not_matter(block):
    frame, prototypes = torch.randn(1, 16, 4, 4), torch.randn(1, 6, 16)
    with torch.no_grad():
        expected = block(frame, prototypes)
        shuffled = block(frame, prototypes[:, torch.randperm(6)])
        repeated = block(frame, prototypes.repeat(1, 2, 1))
    torch.testing.assert_close(shuffled, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(repeated, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 6, 15), (2, 6, 16), (6, 16)])
def test_prototypes_of_another_model_are_an_error(block, shape):
    with pytest.raises(ValueError, match=r"\(1, P, 16\).*another model"):
        block(torch.zeros(1, 16, 4, 4), torch.zeros(shape))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads must divide dim"):
        PrototypeBlock(16, num_heads=3)


def test_frames_are_spread_over_the_video():
    # n // 10 = 7: int(0.5 * 7) = 3, int(1.5 * 7) = 10, ..., int(9.5 * 7) = 66
    assert prototype_frames(70) == [3, 10, 17, 24, 31, 38, 45, 52, 59, 66]
    assert prototype_frames(79) == prototype_frames(70)
    assert prototype_frames(10) == list(range(10))


@pytest.mark.parametrize("num_frames", range(1, 10))
def test_short_videos_use_their_distinct_frames(num_frames):
    assert prototype_frames(num_frames) == [0]  # n // 10 = 0


def test_a_video_without_frames_is_an_error():
    with pytest.raises(ValueError, match="at least one frame"):
        prototype_frames(0)
