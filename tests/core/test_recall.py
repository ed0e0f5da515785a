"""CFFM with recall: what it computes, how it starts, and that it streams."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cffm_plugin.core import CFFMRecall, FrameFeatures
from cffm_plugin.core.nested import cat_batches, split_batch
from cffm_plugin.core.recall import FADE_IN_STEPS

SIZES = [(7, 7), (3, 5), (1, 1), (10, 13)]


def make_module(dim=16, trained=True, **arguments):
    torch.manual_seed(0)
    module = CFFMRecall(dim, 1, num_heads=4, **arguments).eval()
    if trained:
        module.recall.steps.fill_(FADE_IN_STEPS)
        nn.init.normal_(module.recall.strength, std=0.5)
        nn.init.normal_(module.recall.reference_bias)
    return module


def recalled(module, clip):
    *references, target = clip.unbind(1)
    return module.recall(target, [module.assemble(FrameFeatures(cells)) for cells in references])


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_a_cell_moves_towards_the_mean_of_what_looks_like_it(radius):
    """Worked cell by cell, from the class's description."""
    module, clip = make_module(recall_radius=radius), torch.randn(1, 4, 16, 5, 6)
    recall = module.recall
    with torch.no_grad():
        keys = F.normalize(recall.key(clip[0]), dim=1)
        temperature = recall.log_temperature.exp()
        expected = clip[0, 3].clone()
        for y in range(5):
            for x in range(6):
                scores, cells = [temperature], [clip[0, 3, :, y, x]]
                for slot in range(3):
                    for v in range(max(0, y - radius), min(5, y + radius + 1)):
                        for u in range(max(0, x - radius), min(6, x + radius + 1)):
                            cosine = keys[3, :, y, x] @ keys[slot, :, v, u]
                            scores.append(temperature * cosine + recall.reference_bias[slot])
                            cells.append(clip[0, slot, :, v, u])
                mean = torch.stack(scores).softmax(dim=0) @ torch.stack(cells)
                change = recall.strength[:, 0, 0] * (mean - clip[0, 3, :, y, x])
                expected[:, y, x] += change
        torch.testing.assert_close(recalled(module, clip)[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_before_training_recall_changes_nothing(size):
    module, clip = make_module(trained=False), torch.randn(2, 4, 16, *size)
    with torch.no_grad():
        assert torch.equal(recalled(module, clip), clip[:, 3])
        assert torch.equal(module(clip), module.cffm(clip))
        module.start_as_identity()
        assert torch.equal(module(clip), clip[:, 3])


@pytest.mark.parametrize("size", SIZES)
def test_forward_is_mining_of_assembled_references(size):
    module, clip = make_module(), torch.randn(2, 4, 16, *size)
    with torch.no_grad():
        *references, target = map(FrameFeatures, clip.unbind(1))
        tokens = [module.assemble(frame) for frame in references]
        assert torch.equal(module(clip), module.mine(target, tokens))
        one_by_one = [
            cat_batches([one.only((i,)) for one in split_batch(t, 2)]) for i, t in enumerate(tokens)
        ]
        assert torch.equal(module(clip), module.mine(target, one_by_one))


def test_noise_of_a_scene_that_does_not_move_is_averaged_away_and_a_changed_scene_is_left_alone():
    module = make_module(trained=False, recall_radius=0)
    module.recall.steps.fill_(FADE_IN_STEPS)
    nn.init.constant_(module.recall.strength, 1.0)  # all the way to the mean
    nn.init.constant_(module.recall.log_temperature, 1.6)
    generator = torch.Generator().manual_seed(0)
    scene, other = (3 * torch.randn(1, 1, 16, 12, 12, generator=generator) for _ in range(2))
    noisy = scene + 0.5 * torch.randn(1, 4, 16, 12, 12, generator=generator)
    with torch.no_grad():
        error = (recalled(module, noisy) - scene[:, 0]).std()
        assert error < 0.6 * (noisy[:, 3] - scene[:, 0]).std()
        noisy[:, :3] = other
        kept = (recalled(module, noisy) - noisy[:, 3]).std()
        assert kept < 0.3 * (other - noisy[:, 3:]).std()


def test_recall_fades_in_over_the_first_steps_of_training_and_stays():
    module, clip = make_module(trained=False), torch.randn(1, 4, 16, 6, 6)

    def change():
        with torch.no_grad():
            return (recalled(module.eval(), clip) - clip[:, 3]).abs().mean().item()

    def train(steps):
        for _ in range(steps):
            module.train()(clip)

    changes = [change()]
    for steps in (FADE_IN_STEPS // 2, FADE_IN_STEPS // 2, FADE_IN_STEPS):
        train(steps)
        changes.append(change())
    none, half, full, after = changes
    assert none == 0.0 and half == pytest.approx(full / 2, rel=1e-3) and full == after > 0
    restored = make_module(trained=False)
    restored.load_state_dict(module.state_dict())
    assert torch.equal(recalled(restored, clip), recalled(module.eval(), clip))


def test_gradients_reach_every_frame_and_every_weight():
    module = make_module()
    clip = torch.randn(1, 4, 16, 8, 10, requires_grad=True)
    module(clip).square().sum().backward()
    for frame in clip.grad[0]:
        assert frame.abs().sum() > 0
    for name, weight in module.named_parameters():
        assert weight.grad.isfinite().all() and weight.grad.abs().sum() > 0, name


def test_mixed_precision_is_near():
    module, clip = make_module(), torch.randn(1, 4, 16, 8, 10)
    with torch.no_grad():
        expected = module(clip)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for frames in (clip, clip.bfloat16()):
                torch.testing.assert_close(module(frames).float(), expected, rtol=0, atol=0.1)


@pytest.mark.parametrize("arguments", [{"recall_radius": -1}, {"recall_key_dim": 0}])
def test_impossible_arguments_are_errors(arguments):
    with pytest.raises(ValueError, match="recall_radius >= 0 and recall_key_dim >= 1"):
        make_module(**arguments)


def test_references_of_another_size_or_number_are_errors():
    module, clip = make_module(), torch.randn(1, 4, 16, 6, 6)
    tokens = [module.assemble(FrameFeatures(cells)) for cells in clip[:, :3].unbind(1)]
    with pytest.raises(ValueError, match="expected 3 references, got 2"):
        module.mine(FrameFeatures(clip[:, 3]), tokens[:2])
    with pytest.raises(ValueError, match="a clip's frames must have one size"):
        module.mine(FrameFeatures(torch.randn(1, 16, 6, 7)), tokens)
    with pytest.raises(ValueError, match="takes a clip of shape"):
        module(clip[:, :3])
