"""MRCFA: what holds of it for any weights, sizes and ways of running it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import cffm_plugin
from cffm_plugin.core import MRCFA, FrameFeatures, affinity_nets, mrcfa
from cffm_plugin.core.affinity import select_tokens
from cffm_plugin.core.affinity_nets import AffinityNets
from cffm_plugin.core.half_precision import half_precision_copy
from cffm_plugin.core.nested import tensors_in

NUM_CLASSES = 6
CHANNELS = (32, 64, 96)  # of mit_tiny
OFFSETS = (-3, -2, -1)
SIZES = [(64, 96), (97, 131), (40, 50)]  # aligned at 1/32, and not


def tiny_model(**arguments):
    """With maps as large as trained ones', so that the past matters."""
    torch.manual_seed(0)
    options = {"embedding_channels": 32, "frame_offsets": OFFSETS, **arguments}
    model = cffm_plugin.create_model("mrcfa_mit_tiny", NUM_CLASSES, **options)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and not name.startswith("temporal.module.values"):
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model.eval()


def tiny_module(**arguments):
    torch.manual_seed(0)
    return MRCFA(8, (4, 5, 6), **arguments).eval()


def random_features(size=(64, 96), batch=1, seed=0):
    """Of frames of this size, as ``tiny_module`` takes them."""
    generator = torch.Generator().manual_seed(seed)

    def random_map(channels, stride):
        cells = [-(-side // stride) for side in size]
        return torch.randn(batch, channels, *cells, generator=generator)

    levels = tuple(random_map(c, s) for c, s in ((4, 8), (5, 16), (6, 32)))
    return FrameFeatures(random_map(8, 8), levels)


def refine(module, seeds=(1, 2, 3), **options):
    tokens = [module.assemble(random_features(seed=seed, **options)) for seed in seeds]
    return module.mine(random_features(**options), tokens)


def random_frames(count, size=(64, 96)):
    generator = torch.Generator().manual_seed(1)
    return [255 * torch.rand(3, *size, generator=generator) for _ in range(count)]


def logits_of(model, frames):
    with torch.no_grad():
        return model(torch.stack(frames)[None]).logits


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("deep_nets", [False, True])
@pytest.mark.parametrize("output", ["refined", "refine"])
def test_a_stream_equals_clips_bit_for_bit(size, deep_nets, output):
    model = tiny_model(deep_nets=deep_nets, output=output)
    nn.init.normal_(model.temporal.module.values.weight, std=0.1)  # zero under "refine"
    frames = random_frames(6, size)
    stream = cffm_plugin.StreamingSegmentor(model)
    for t, frame in enumerate(frames):
        streamed = stream.step(frame, output="logits")
        clip = frames[t - 3 : t + 1] if t >= 3 else None
        if clip is not None:
            assert torch.equal(streamed, logits_of(model, clip)[0])
    others = [torch.zeros_like(frame) for frame in frames[2:5]]
    assert not torch.equal(streamed, logits_of(model, [*others, frames[5]])[0])


@pytest.mark.parametrize("size", SIZES)
def test_under_refine_an_untrained_one_is_the_image_segmentor_bit_for_bit(size):
    model = tiny_model(output="refine")
    frames = random_frames(4, size)
    assert torch.equal(logits_of(model, frames), logits_of(model, frames[3:]))


def test_under_refine_values_train_at_once_and_what_chooses_among_them_after_a_step():
    model = tiny_model(output="refine", dropout=0.0, drop_path_rate=0.0).train()
    module = model.temporal.module
    clips, labels = torch.stack(random_frames(4))[None], torch.randint(0, 6, (1, 64, 96))
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    for step in range(2):
        optimizer.zero_grad()
        model(clips, labels=labels).loss.backward()
        assert module.values.weight.grad.abs().sum() > 0
        for part in (module.queries, module.keys, module.key_reductions, module.nets):
            trains = any(p.grad is not None and p.grad.any() for p in part.parameters())
            assert trains == (step > 0)
        optimizer.step()


@pytest.mark.parametrize("size", [(1, 1), (8, 300), (31, 33), (95, 40), (129, 161)])
def test_every_size_works_down_to_a_single_pixel(size):
    module = tiny_module()
    features, refined = random_features(size), refine(module, size=size)
    assert refined.shape == features.cells.shape and refined.isfinite().all()
    tokens = module.assemble(features)
    assert tokens.values.shape[1] == max(1, -(-size[0] // 8) // 4) * max(1, -(-size[1] // 8) // 4)


def test_references_enter_alike():
    module = tiny_module()
    torch.testing.assert_close(refine(module, (1, 2, 3)), refine(module, (3, 1, 2)))


def test_tokens_of_the_largest_scores_are_chosen():
    """Two cells and four tokens; a score is the sum of a token's two affinities: 3, 5, 4, -1."""
    affinity = torch.tensor([[[1.0, 2.0], [0.0, 5.0], [2.0, 2.0], [9.0, -10.0]]])
    for cells, keep, expected in [
        (2, 0.5, {1, 2}),
        (5, 0.5, {1, 2}),  # there are no five cells
        (1, 0.5, {1, 3}),  # the largest alone: 2, 5, 2, 9
        (2, 0.99, {0, 1, 2}),  # 3.96 tokens, rounded down
        (2, 0.01, {1}),  # one at least
    ]:
        (indices,) = select_tokens(affinity, (2, 2), (2, 2), keep, cells)
        assert set(indices.tolist()) == expected


def test_scores_are_resized_to_the_tokens_grid():
    """Of a row of four tokens on a grid of two: the means of neighbours, 2 and 3."""
    affinity = torch.tensor([[[4.0], [0.0], [1.0], [5.0]]])
    (indices,) = select_tokens(affinity, (1, 4), (1, 2), 0.5, 1)
    assert indices.tolist() == [1]


@pytest.mark.parametrize(("deep", "parameters"), [(False, 92), (True, 271)])
def test_nets_treat_every_image_by_itself(deep, parameters):
    """Side by side as groups of channels they come out as from plain layers one by one."""
    torch.manual_seed(0)
    nets = AffinityNets(deep)
    assert sum(p.numel() for p in nets.parameters()) == parameters
    for parameter in nets.parameters():
        nn.init.normal_(parameter)
    levels = [torch.randn(2, 7, *size) for size in ((8, 12), (4, 6), (2, 3))]

    def run(units, image):
        for unit in units:
            image = F.relu(unit.norm(unit.conv(image)))
        return image

    def resized(image, level):
        return F.interpolate(image, level.shape[2:], mode="bilinear", align_corners=True)

    fine, middle, coarse = (
        run(net, level.flatten(0, 1)[:, None]) for net, level in zip(nets.refine, levels)
    )
    middle = run(nets.merge[0], resized(coarse, middle) + middle)
    expected = run(nets.merge[1], resized(middle, fine) + fine)
    torch.testing.assert_close(nets(*levels), expected.view(2, 7, 8, 12), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("largest", [1, 300])
def test_large_maps_in_parts_give_what_they_give_at_once(monkeypatch, largest):
    module = tiny_module(deep_nets=True)
    with torch.no_grad():
        expected = refine(module)
        for place in (mrcfa, affinity_nets):
            monkeypatch.setattr(place, "LARGEST_HIDDEN", largest)
        torch.testing.assert_close(refine(module), expected)


def test_activation_checkpointing_has_the_same_gradients_and_runs_the_nets_again():
    gradients = []
    for enable in (False, True):
        module = tiny_module().train()
        module.set_activation_checkpointing(enable)
        calls = []
        module.nets.refine[0].register_forward_hook(lambda *_, calls=calls: calls.append(1))
        refine(module).cells.sum().backward()
        gradients.append([parameter.grad for parameter in module.parameters()])
        assert len(calls) == 1 + enable
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_tokens_are_chosen_as_in_float32(dtype):
    model = tiny_model()
    half = half_precision_copy(model, dtype, float32_parts=("backbone",))
    frames = random_frames(1)
    with torch.no_grad():
        plain, cast = (m.temporal.module.assemble(m.encode(frames).features) for m in (model, half))
    assert torch.equal(cast.coarse_keys, plain.coarse_keys)
    assert {tensor.dtype for tensor in tensors_in(cast)} == {torch.float32, dtype}


def test_training_in_mixed_precision_gives_finite_gradients():
    model = tiny_model().train()
    clips, labels = torch.stack(random_frames(4))[None], torch.randint(0, 6, (1, 64, 96))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(clips, labels=labels).loss
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("encoder", "keep", "deep"), [("b0", 0.8, False), ("b1", 0.5, True), ("b2", 0.5, False)]
)
def test_a_model_by_name_has_the_papers_settings_for_its_encoder(encoder, keep, deep):
    with torch.device("meta"):
        model = cffm_plugin.create_model(f"mrcfa_mit_{encoder}", 124)
    module = model.temporal.module
    assert (module.keep, len(module.nets.refine[0])) == (keep, 2 if deep else 1)
    assert len(model.temporal.output.auxiliary) == 3
    assert (model.image_loss_weight, model.video_loss_weight) == (0.5, 1.0)


def test_any_number_of_references():
    module = tiny_module(num_references=2)
    assert refine(module, (1, 2)).isfinite().all()
    assert len(refine(module.train(), (1, 2)).auxiliary) == module.num_auxiliary == 2


def test_a_net_without_the_backbones_levels_is_refused_and_the_error_names_them():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.Conv2d(8, NUM_CLASSES, 1))
    with pytest.raises(ValueError, match="MRCFA.*res3, res4, res5"):
        cffm_plugin.wrap(net, "1", NUM_CLASSES, temporal="MRCFA", size_divisibility=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 0.0}, "keep"),
        ({"keep": 1.5}, "keep"),
        ({"score_cells": 0}, "score_cells"),
        ({"num_references": 0}, "num_references"),
        ({"levels": ("res4", "res5")}, "3 levels.*res4.*res5"),
    ],
)
def test_arguments_that_fit_nothing_are_errors_that_name_them(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny_module(**arguments)


def test_features_that_do_not_fit_are_errors_that_say_what_is_expected():
    module = tiny_module()
    target = random_features()
    tokens = module.assemble(target)
    with pytest.raises(ValueError, match="expected 3 references, got 2"):
        module.mine(target, [tokens] * 2)
    with pytest.raises(ValueError, match=r"target's features are 4x4.*reference 8x12.*one size"):
        module.mine(random_features((32, 32)), [tokens] * 3)
    with pytest.raises(ValueError, match=r"frame: .*\(B, 8, h, w\).*\(B, 6, h, w\)"):
        module.assemble(FrameFeatures(target.cells, target.levels[::-1]))
    with pytest.raises(ValueError, match=r"frame: .*levels"):
        module.assemble(FrameFeatures(target.cells))
