"""TV3S' layers: the reference's numbers, and what holds for streams and clips."""

import copy

import golden_cases
import pytest
import torch
import torch.nn.functional as F

from cffm_plugin.core import TV3S, FrameFeatures, TV3SClip, TV3SStream
from cffm_plugin.core.nested import cat_batches, split_batch, tensors_in

DIM = 16


def our_name(official):
    return official.removeprefix("vs.").replace("layers.", "blocks.").replace("norm_f", "norm")


def small(mode="stream", seed=0, **arguments):
    """Windows of 4 cells, shifted by 1; four blocks."""
    torch.manual_seed(seed)
    arguments = {"depth": 4, "window_size": 4, "shift": 1, "num_states": 3} | arguments
    return TV3S.build(DIM, {}, mode=mode, **arguments).eval()


def frames(count, height=8, width=12, batch=2):
    random = torch.Generator().manual_seed(height * width)
    maps = torch.randn(count, batch, DIM, height, width, generator=random)
    return [FrameFeatures(cells) for cells in maps]


def fold(module, clip, state=None):
    """The refined cells of every frame, and the state after the last."""
    results = []
    for frame in clip:
        refined, state = module.step(frame, state)
        results.append(refined)
    return results, state


class Golden:
    """A golden case, and the layers with the reference's weights."""

    def __init__(self, name):
        self.case = golden_cases.load_json(f"tv3s/{name}")
        self.arrays = golden_cases.load_arrays(f"tv3s/{name}")
        case = self.case
        self.module = TV3S.build(
            case["shape"][2],
            {},
            mode="stream",
            depth=case["depth"],
            window_size=case["window"],
            shift=case["shift"],
        ).eval()
        official = golden_cases.state_dict(case["state_dict"])
        self.module.load_state_dict({our_name(name): t for name, t in official.items()})
        self.clip = golden_cases.normal(case["input_seed"], case["shape"]).requires_grad_()

    def frames(self):
        """As the segmentor makes them of the embedding, where the case starts from that."""
        maps = list(self.clip.unbind(1))
        if self.case.get("resized"):
            height, width = self.case["shape"][3:]
            grid = self.module.cell_grid(height // 2, width // 2)
            maps = [F.interpolate(m, size=grid, mode="bilinear") for m in maps]
        return [FrameFeatures(cells) for cells in maps]


@pytest.mark.parametrize("name", ["temporal_odd", "temporal_real_window"])
def test_the_target_and_every_gradient_agree_with_the_reference(name):
    golden = Golden(name)
    (*_, out), _ = fold(golden.module, golden.frames())
    torch.testing.assert_close(out.detach(), golden.arrays["out"], rtol=0, atol=1e-5)
    (out * golden_cases.normal(golden.case["cotangent_seed"], out.shape)).sum().backward()
    norms = {name: p.grad.norm().item() for name, p in golden.module.named_parameters()}
    expected = {our_name(name): norm for name, norm in golden.case["grad_norms"].items()}
    assert norms == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert golden.clip.grad.norm().item() == pytest.approx(golden.case["grad_input_norm"], rel=1e-3)
    if "grad_input" in golden.arrays:
        grad = golden.arrays["grad_input"]
        torch.testing.assert_close(golden.clip.grad, grad, rtol=0, atol=3e-5)


def test_every_frame_of_a_stream_and_the_state_agree_with_the_reference():
    golden = Golden("temporal_stream")
    with torch.no_grad():
        results, state = fold(golden.module, golden.frames())
    torch.testing.assert_close(torch.stack(results, 1), golden.arrays["out"], rtol=0, atol=1e-5)
    first = state.blocks[0]
    # The reference keeps four inputs of the convolution, of which the oldest is never used.
    convolution = golden.arrays["conv_state_0"][:, :, 1:].transpose(1, 2)
    scan = golden.arrays["ssm_state_0"].transpose(1, 2)
    torch.testing.assert_close(first.convolution[0], convolution, rtol=0, atol=1e-5)
    torch.testing.assert_close(first.scan[0], scan, rtol=0, atol=1e-5)
    unused = sum(block.convolution.numel() // 3 for block in state.blocks)
    assert sum(t.numel() for t in tensors_in(state)) + unused == golden.case["state_values"]


def test_a_clip_is_the_last_frame_of_a_stream_of_its_frames():
    """Of three references the fourth frame is the target."""
    stream, clip = small("stream"), small("clip")
    assert isinstance(stream, TV3SStream) and isinstance(clip, TV3SClip)
    clip.load_state_dict(stream.state_dict())  # one set of weights
    *references, target = frames(4)
    with torch.no_grad():
        expected = fold(stream, [*references, target])[0][-1]
        assert torch.equal(clip.refine_clip(references, target), expected)
        assert torch.equal(stream.refine_clip(references, target), expected)


def test_all_frames_of_a_clip_as_one_sequence_are_the_stream():
    """The mixer run once over T * rows * columns cells of a rectangle, as the paper has it."""
    module = small(depth=1)
    clip = frames(3, height=4, width=4, batch=2)  # one window
    block = module.blocks[0]
    cells = torch.stack([f.cells for f in clip], 1).flatten(3).transpose(2, 3).flatten(1, 2)
    with torch.no_grad():
        mixed, _ = block.mixer(block.norm(cells), block.mixer.start(2))
        expected = module.norm(cells + mixed).unflatten(1, (3, 16)).transpose(2, 3)
        results, _ = fold(module, clip)
    for index, result in enumerate(results):
        torch.testing.assert_close(result.flatten(2), expected[:, index], rtol=0, atol=1e-5)


def test_a_state_has_one_size_and_is_not_written_to():
    module = small()
    clip = frames(5)
    with torch.no_grad():
        _, state = fold(module, clip[:2])
        before = copy.deepcopy(state)
        _, after = fold(module, clip[2:], state)
    for kept, old, later in zip(tensors_in(state), tensors_in(before), tensors_in(after)):
        assert torch.equal(kept, old)
        assert later.shape == old.shape and later.dtype == torch.float32


def test_the_size_of_a_state_is_that_of_the_map():
    """480x864 pixels are 60x120 cells: in windows of 20, 18 plain rectangles and 28 shifted ones.
    Each of two blocks keeps 3 + 16 values for each of 2 * 16 channels; eight of 256: 7.2 MB."""
    module = small(depth=2, window_size=20, shift=10, num_states=16)
    size = module.cell_grid(60, 108)
    with torch.no_grad():
        _, state = module.step(frames(1, *size, batch=1)[0], None)
    assert sum(t.numel() for t in tensors_in(state)) == (18 + 28) * 32 * (3 + 16)
    assert 4 * 4 * (18 + 28) * 512 * (3 + 16) == 7_159_808


def test_videos_of_a_batch_are_those_alone():
    module, clip = small(), frames(3)
    with torch.no_grad():
        results, state = fold(module, clip)
        alone = [fold(module, [FrameFeatures(f.cells[i : i + 1]) for f in clip]) for i in range(2)]
    for index, result in enumerate(results):
        own = torch.cat([part[index] for part, _ in alone])
        torch.testing.assert_close(result, own, rtol=0, atol=1e-5)
    joined = cat_batches([state for _, state in alone])
    for tensor, own in zip(tensors_in(state), tensors_in(joined)):
        torch.testing.assert_close(tensor, own, rtol=0, atol=1e-5)
    for part, split in zip(alone, split_batch(state, 2)):
        assert [t.shape for t in tensors_in(part[1])] == [t.shape for t in tensors_in(split)]


def test_rectangles_of_one_block_exchange_nothing():
    """With one block, a change in a window reaches no cell outside, and in it only later ones."""
    module = small(depth=1)
    (frame,) = frames(1, batch=1)
    changed = frame.cells.clone()
    changed[:, :, 2, 5] += 1  # in the window of columns 4 to 7, rows 0 to 3
    with torch.no_grad():
        before, _ = module.step(frame, None)
        after, _ = module.step(FrameFeatures(changed), None)
    differs = (before != after).any(1)[0]
    assert not differs[:2].any() and not differs[4:].any()
    assert not differs[:, :4].any() and not differs[:, 8:].any()
    assert differs[2].tolist() == [5 <= column < 8 for column in range(12)]


def test_shifted_windows_carry_a_change_across_the_border_of_windows():
    module = small(depth=2)
    (frame,) = frames(1, batch=1)
    changed = frame.cells.clone()
    changed[:, :, 1, 3] += 1  # last column of its window, in a shifted window with columns 4
    with torch.no_grad():
        before, _ = module.step(frame, None)
        after, _ = module.step(FrameFeatures(changed), None)
    assert (before != after).any(1)[0, 1, 4]


@pytest.mark.parametrize("size", [(4, 4), (4, 12), (8, 4)])
def test_a_map_that_is_one_window_high_or_wide_works(size):
    module = small()
    clip = frames(2, *size)
    with torch.no_grad():
        results, _ = fold(module, clip)
    assert all(r.shape == clip[0].cells.shape and r.isfinite().all() for r in results)


@pytest.mark.parametrize(
    ("given", "expected"),
    [((60, 60), (60, 60)), ((60, 108), (60, 120)), ((24, 44), (40, 60)), ((1, 1), (20, 20))],
)
def test_cells_are_stretched_to_whole_windows_of_20(given, expected):
    assert TV3S.build(DIM, {}, depth=1).cell_grid(*given) == expected


class TestStochasticDepth:
    def test_rates_grow_over_the_blocks_from_none(self):
        """Of the sums before blocks 1 to 7: 0 to 0.1 * 6 / 7; before the last norm 0.1."""
        rates = TV3S.build(DIM, {}).drop_rates
        assert rates == pytest.approx([0.1 * i / 7 for i in range(8)])

    def test_in_evaluation_nothing_is_dropped(self):
        module, clip = small(window_drop_rate=0.9), frames(2)
        plain = small(window_drop_rate=0.0)
        with torch.no_grad():
            results, state = fold(module, clip)
            expected, _ = fold(plain, clip)
        assert state.branch_scales == ()
        assert all(torch.equal(a, b) for a, b in zip(results, expected))

    def test_a_rectangle_is_dropped_in_all_frames_of_its_clip_or_in_none(self):
        """One block: where it is dropped, cells come out normalised and else as they were."""
        module = small(depth=1, window_drop_rate=0.5).train()
        clip = frames(3, height=16, width=16, batch=4)
        results, state = fold(module, clip)
        (scales,) = state.branch_scales
        assert scales.shape == (4, 16) and set(scales.unique().tolist()) == {0.0, 2.0}
        for frame, result in zip(clip, results):
            unchanged = F.normalize(frame.cells, dim=1) - F.normalize(result, dim=1)
            dropped = unchanged.abs().amax(1) < 1e-5
            by_window = dropped.unfold(1, 4, 4).unfold(2, 4, 4).flatten(3)
            assert torch.equal(by_window.all(3).flatten(1), scales == 0)
            assert torch.equal(by_window.any(3).flatten(1), scales == 0)

    def test_what_is_kept_is_scaled_so_that_the_mean_is_as_without(self):
        """A fourth of 6000 rectangles is dropped, give or take four standard deviations, 0.022."""
        module = small(depth=1, window_drop_rate=0.25, num_states=1).train()
        _, state = module.step(frames(1, 40, 40, batch=60)[0], None)
        scales = state.branch_scales[0]
        assert torch.equal(scales, torch.where(scales > 0, 1 / 0.75, 0.0))
        assert (scales == 0).float().mean().item() == pytest.approx(0.25, abs=0.022)


def test_activation_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        module = small().train()
        module.set_activation_checkpointing(checkpointing)
        torch.manual_seed(1)
        fold(module, frames(2))[0][-1].square().sum().backward()
        gradients.append([p.grad for p in module.parameters()])
    for plain, recomputed in zip(*gradients):
        torch.testing.assert_close(plain, recomputed)


def test_bfloat16_weights_leave_outputs_and_states_in_float32():
    module, clip = small(), frames(2)
    with torch.no_grad():
        expected, _ = fold(module, clip)
        module.compute_in(torch.bfloat16)
        results, state = fold(module, clip)
    assert all(t.dtype == torch.float32 for t in tensors_in(state))
    assert results[-1].dtype == torch.float32
    # Outputs are of order 1; bfloat16 has 8 bits.
    torch.testing.assert_close(results[-1], expected[-1], rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 0}, "depth and num_states"),
        ({"shift": 4}, "0 < shift < window_size"),
        ({"shift": 0}, "0 < shift < window_size"),
        ({"window_drop_rate": 1.0}, "window_drop_rate"),
        ({"mode": "both"}, r"MODEL\.TV3S\.MODE \(mode\) is one of stream, clip; got 'both'"),
    ],
)
def test_arguments_that_do_not_fit_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)


def test_a_state_of_another_size_is_an_error():
    module = small()
    _, state = module.step(frames(1, 8, 12)[0], None)
    with pytest.raises(ValueError, match="frames of another size need a new state"):
        module.step(frames(1, 8, 8)[0], state)


def test_cells_of_another_width_are_an_error():
    with pytest.raises(ValueError, match=r"expected cells \(B, 16, H, W\)"):
        small().step(FrameFeatures(torch.zeros(1, 8, 8, 8)), None)
