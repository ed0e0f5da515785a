"""CFFM with a memory: what it computes, how it starts, and what it keeps of a video."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cffm_plugin.core import CellMemory, CFFMMemory, FrameFeatures, MemoryState
from cffm_plugin.core.recall import FADE_IN_STEPS

SIZES = [(7, 7), (3, 5), (1, 1), (10, 13)]


def make_module(dim=16, trained=True, **arguments):
    torch.manual_seed(0)
    module = CFFMMemory(dim, 1, num_heads=4, **arguments).eval()
    if trained:
        module.steps.fill_(FADE_IN_STEPS)
        nn.init.normal_(module.strength, std=0.5)
        nn.init.normal_(module.memory.place_bias)
    return module


def memory_of(frames, **arguments):
    """A memory that compares cells by their direction, after frames (T, 1, C, H, W)."""
    memory = CellMemory(frames.shape[2], key_dim=frames.shape[2], **arguments)
    with torch.no_grad():
        nn.init.eye_(memory.key.weight[:, :, 0, 0])
        nn.init.zeros_(memory.key.bias)
        nn.init.zeros_(memory.place_bias)
        state = MemoryState.of_first_frame(frames[0])
        for cells in frames[1:]:
            state = memory(cells, state)
    return state


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_the_memory_is_the_mean_of_a_cell_and_of_what_looks_like_it_near_where_it_was(radius):
    """Worked cell by cell, from the class's description."""
    memory = make_module(recall_radius=radius).memory
    cells, past = torch.randn(2, 16, 5, 6)
    frames = 1 + 9 * torch.rand(5, 6)
    with torch.no_grad():
        after = memory(cells[None], MemoryState(past[None], frames[None, None]))
        keys = F.normalize(memory.key(torch.stack([cells, past])), dim=1)
        temperature = memory.log_temperature.exp()
        for y in range(5):
            for x in range(6):
                scores, means, places = [temperature], [cells[:, y, x]], iter(memory.place_bias)
                for v in range(y - radius, y + radius + 1):
                    for u in range(x - radius, x + radius + 1):
                        bias = next(places)
                        if not (0 <= v < 5 and 0 <= u < 6):
                            continue
                        cosine = keys[0, :, y, x] @ keys[1, :, v, u]
                        scores.append(temperature * cosine + bias + frames[v, u].log())
                        means.append(past[:, v, u])
                weights = torch.stack(scores).softmax(dim=0)
                expected = weights @ torch.stack(means)
                torch.testing.assert_close(after.cells[0, :, y, x], expected, rtol=0, atol=1e-5)
                age = (1 / weights[0]).clamp(max=16)
                torch.testing.assert_close(after.frames[0, 0, y, x], age, rtol=1e-4, atol=0)


def test_of_a_scene_that_stands_still_the_memory_is_the_mean_of_all_its_frames():
    scene = torch.randn(1, 16, 8, 8)
    frames = torch.stack([(1 + 0.1 * t) * scene for t in range(6)])  # of one direction
    state = memory_of(frames, radius=0)
    torch.testing.assert_close(state.cells, frames.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state.frames, torch.full((1, 1, 8, 8), 6.0), rtol=1e-4, atol=0)


def test_a_memory_grows_no_older_than_it_may():
    frames = torch.randn(1, 16, 4, 4).expand(30, 1, 16, 4, 4)
    assert memory_of(frames, radius=0, most_frames=5).frames.max() == 5


def test_what_moves_by_a_cell_a_frame_is_followed_and_what_is_new_begins_anew():
    """Cells of a wide picture pass by: each is remembered where it is now, and at the border, where
    cells come in, nothing is."""
    picture = 3 * torch.randn(1, 16, 8, 24)
    frames = torch.stack([picture[..., t : t + 12] for t in range(5)])
    state = memory_of(frames, radius=1)
    torch.testing.assert_close(state.cells, frames[-1], rtol=0, atol=0.1)
    assert state.frames[..., 0, 2:-5].median() > 2 and state.frames[..., -1].median() < 1.2


@pytest.mark.parametrize("size", SIZES)
def test_a_first_frame_comes_out_as_it_is_and_so_does_every_frame_before_training(size):
    clip = torch.randn(2, 3, 16, *size)
    module = make_module()
    with torch.no_grad():
        assert torch.equal(module(clip[:, :1]), clip[:, 0])
        assert not torch.allclose(module(clip), clip[:, 2])
        module = make_module(trained=False)
        assert module.start_as_identity()
        assert torch.equal(module(clip), clip[:, 2])


def test_the_state_that_a_step_is_given_stays_as_it_was():
    module, clip = make_module(), torch.randn(1, 3, 16, 6, 7)
    with torch.no_grad():
        _, state = module.step(FrameFeatures(clip[:, 0]), None)
        before = state.cells.clone(), state.frames.clone()
        module.step(FrameFeatures(clip[:, 1]), state)
    assert torch.equal(state.cells, before[0]) and torch.equal(state.frames, before[1])


def test_a_state_of_zeros_is_a_videos_start():
    """So that exported graphs, whose states begin with zeros, need no other first step."""
    module, clip = make_module(), torch.randn(2, 2, 16, 6, 7)
    frames = [FrameFeatures(cells) for cells in clip.unbind(1)]
    zeros = MemoryState(torch.zeros(2, 16, 6, 7), torch.zeros(2, 1, 6, 7))
    with torch.no_grad():
        outputs = []
        for state in (None, zeros):
            first, state = module.step(frames[0], state)
            outputs.append((first, module.step(frames[1], state)[0]))
    assert all(map(torch.equal, *outputs))


def test_the_memory_fades_in_over_the_first_clips_of_training_and_stays():
    module, clip = make_module(trained=False), torch.randn(1, 4, 16, 6, 6)
    module.start_as_identity()

    def change():
        with torch.no_grad():
            return (module.eval()(clip) - clip[:, 3]).abs().mean().item()

    changes = [change()]
    for steps in (FADE_IN_STEPS // 2, FADE_IN_STEPS // 2, FADE_IN_STEPS):
        for _ in range(steps):
            module.train()(clip)
        changes.append(change())
    none, half, full, after = changes
    assert none == 0.0 and half == pytest.approx(full / 2, rel=1e-3) and full == after > 0


def test_gradients_reach_every_frame_and_every_weight():
    module = make_module()
    clip = torch.randn(1, 4, 16, 8, 10, requires_grad=True)
    module(clip).square().sum().backward()
    for frame in clip.grad[0]:
        assert frame.abs().sum() > 0
    for name, weight in module.named_parameters():
        assert weight.grad.isfinite().all() and weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    "arguments",
    [{"recall_radius": -1}, {"recall_key_dim": 0}, {"memory_frames": 0.5}, {"context_pool": 0}],
)
def test_impossible_arguments_are_errors(arguments):
    with pytest.raises(ValueError, match="recall_radius >= 0; .*context_pool >= 1"):
        make_module(**arguments)
