"""Properties of the temporal module that hold for any weights."""

import copy

import pytest
import torch

from cffm_plugin import CFFM
from cffm_plugin.core import FrameFeatures, WindowPooling

SIZES = [(7, 7), (3, 5), (1, 1), (10, 13), (14, 21)]


def make_cffm(dim=16, depth=2, **kwargs):
    torch.manual_seed(0)
    return CFFM(dim, depth, num_heads=4, **kwargs).eval()


@pytest.mark.parametrize("size", SIZES)
def test_forward_is_mining_of_assembled_references(size):
    cffm, clip = make_cffm(), torch.randn(2, 4, 16, *size)
    with torch.no_grad():
        *references, target = map(FrameFeatures, clip.unbind(1))
        streamed = cffm.mine(target, [cffm.assemble(frame) for frame in references])
        assert torch.equal(cffm(clip), streamed)
    assert streamed.shape == target.cells.shape


def test_items_of_a_batch_do_not_see_each_other():
    cffm, clips = make_cffm(), torch.randn(3, 4, 16, 9, 12)
    with torch.no_grad():
        together = cffm(clips)
        alone = torch.cat([cffm(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "pools, kernels", [((), ()), ((1,), (3,)), ((2, 3), (5, 3)), ((1, 1, 2, 3, 7), (3, 5, 1, 3, 5))]
)
def test_any_number_of_reference_frames(pools, kernels):
    cffm = make_cffm(reference_pools=pools, reference_kernels=kernels)
    clip = torch.randn(1, len(pools) + 1, 16, 8, 10, requires_grad=True)
    cffm(clip).sum().backward()
    for frame in clip.grad[0]:
        assert frame.abs().sum() > 0  # every frame takes part


@pytest.mark.parametrize("window_size", [4, 5, 8])
def test_any_window_size(window_size):
    cffm = make_cffm(window_size=window_size)
    clip = torch.randn(1, 4, 16, 11, 9)
    assert cffm(clip).shape == (1, 16, 11, 9)


def test_swapping_two_references_changes_the_result():
    cffm, clip = make_cffm(), torch.randn(1, 4, 16, 9, 9)
    with torch.no_grad():
        assert not torch.allclose(cffm(clip), cffm(clip[:, [1, 0, 2, 3]]), atol=1e-4)


def test_references_farther_than_their_reach_do_not_matter():
    """The newest reference, 3 x 3 tokens per window, is seen by a 3 x 3 kernel alone."""
    cffm = make_cffm(depth=1, reference_pools=(3,), reference_kernels=(3,))
    clip = torch.randn(1, 2, 16, 7, 70)
    changed = clip.clone()
    changed[:, 0, :, :, 35:] = torch.randn(16, 7, 35)
    with torch.no_grad():
        same = cffm(clip)[..., :21], cffm(changed)[..., :21]
        differ = cffm(clip)[..., 42:], cffm(changed)[..., 42:]
    assert torch.equal(*same) and not torch.allclose(*differ)


def test_pooling_starts_as_a_mean():
    pooling = WindowPooling(window_size=6, tokens_per_side=2)
    feature = torch.rand(1, 6, 12, 3)
    tokens = pooling(feature).view(1, 2, 4, 3)
    expected = feature.view(1, 2, 3, 4, 3, 3).mean(dim=(2, 4))
    torch.testing.assert_close(tokens, expected)


@pytest.mark.parametrize("tokens_per_side", [1, 2, 3, 7])
def test_pooling_of_a_constant_map_is_that_constant(tokens_per_side):
    tokens = WindowPooling(7, tokens_per_side)(torch.full((1, 14, 21, 2), 3.0))
    assert tokens.shape == (1, 6 * tokens_per_side**2, 2)
    torch.testing.assert_close(tokens, torch.full_like(tokens, 3.0))


def test_every_parameter_gets_a_finite_gradient():
    cffm = make_cffm().train()
    cffm(torch.randn(2, 4, 16, 24, 38)).square().sum().backward()
    for name, parameter in cffm.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_gradients_of_two_runs_are_bit_identical():
    clip = torch.randn(2, 4, 16, 20, 24)
    first, second = make_cffm(), make_cffm()
    for cffm in (first, second):
        cffm(clip).square().sum().backward()
    for one, other in zip(first.parameters(), second.parameters()):
        assert torch.equal(one.grad, other.grad)


def test_bfloat16_autocast_stays_close():
    cffm, clip = make_cffm(), torch.randn(1, 4, 16, 9, 16)
    with torch.no_grad():
        exact = cffm(clip)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = cffm(clip)
    assert (rounded.float() - exact).abs().max() < 0.1 * exact.abs().max()


def test_a_module_can_be_copied_after_use():
    cffm, clip = make_cffm(), torch.randn(1, 4, 16, 7, 7)
    with torch.no_grad():
        expected = cffm(clip)
        assert torch.equal(copy.deepcopy(cffm)(clip), expected)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"dim": 18}, "num_heads must divide dim"),
        ({"reference_pools": (1, 2)}, "one number per reference frame"),
        ({"reference_kernels": (7, 4, 3)}, "odd"),
        ({"reference_pools": (1, 2, 8)}, "1..7"),
        ({"depth": 0}, "depth"),
    ],
)
def test_arguments_that_do_not_fit_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_cffm(**arguments)


@pytest.mark.parametrize("shape", [(1, 3, 16, 8, 8), (1, 4, 15, 8, 8), (4, 16, 8, 8)])
def test_a_clip_of_another_shape_is_an_error(shape):
    with pytest.raises(ValueError, match="expected|takes a clip"):
        make_cffm()(torch.zeros(shape))


def test_references_of_another_size_are_an_error():
    cffm = make_cffm()
    tokens = [cffm.assemble(FrameFeatures(torch.zeros(1, 16, 8, 8))) for _ in range(3)]
    with pytest.raises(ValueError, match="9x8.*8x8"):
        cffm.mine(FrameFeatures(torch.zeros(1, 16, 9, 8)), tokens)


def test_too_few_references_are_an_error():
    cffm, frame = make_cffm(), FrameFeatures(torch.zeros(1, 16, 8, 8))
    with pytest.raises(ValueError, match="expected 3 references, got 1"):
        cffm.mine(frame, [cffm.assemble(frame)])
