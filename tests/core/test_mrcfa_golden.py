"""MRCFA's temporal part against the official implementation: what it gives, and every gradient."""

import golden_cases
import pytest
import torch

from cffm_plugin.checkpoint import convert
from cffm_plugin.core import MRCFA, FrameFeatures, TemporalHead
from cffm_plugin.core.affinity import affinities, select_tokens
from cffm_plugin.core.label_maps import resize

CASES = ["b0", "b0_odd", "b1", "b1_faint", "b1_odd", "b2_wide"]
STORES_MORE = ["b1", "b1_odd"]  # what each reference gives, affinities, chosen tokens
LEVELS = ("c2", "c3", "c4")
TARGET = 3  # of four frames, the last


class Run:
    """A golden case, and our module after forward and backward on it, in training mode."""

    def __init__(self, name):
        self.case = case = golden_cases.load_json(f"mrcfa/temporal_{name}")
        self.expected = golden_cases.load_arrays(f"mrcfa/temporal_{name}")
        self.head = golden_head(case)
        self.inputs = golden_inputs(case)
        self.mined = []  # affinities after the nets, (references * B, s, h, w)
        self.head.module.nets.register_forward_hook(lambda *args: self.mined.append(args[-1]))
        *references, self.target = (self.frame(i) for i in range(TARGET + 1))
        self.tokens = [self.head.module.assemble(frame) for frame in references]
        self.refined = self.head.module.mine(self.target, self.tokens)
        self.logits = self._logits()
        cotangent = golden_cases.normal(case["cotangent_seed"], self.logits.shape)
        (self.logits * cotangent).sum().backward()

    def frame(self, index):
        levels = tuple(self.inputs[level][:, index] for level in LEVELS)
        return FrameFeatures(self.head.resample(self.inputs["f"][:, index], 4), levels)

    def _logits(self):
        """Of the references, oldest first, then of all: (B, 4, K, h, w), as the official ones."""
        output, size = self.head.output, self.inputs["f"].shape[-2:]
        classifiers = (*output.auxiliary, output.classifier)
        maps = (*self.refined.auxiliary, self.refined.cells)
        return torch.stack([resize(c(m), size) for c, m in zip(classifiers, maps, strict=True)], 1)


def golden_head(case):
    module = MRCFA(
        case["dim"],
        case["channels"],
        keep=0.8 if case["variant"] == "b0" else 0.5,
        deep_nets=case["variant"] == "b1",
    )
    head = TemporalHead(module, num_classes=case["classes"], output="refined", dropout=0.0)
    weights = convert(golden_cases.state_dict(case["state_dict"])).weights
    head.load_state_dict({name.removeprefix("temporal."): t for name, t in weights.items()})
    return head.train()


def golden_inputs(case):
    """f, c2, c3 and c4 of all frames, (B, 4, C, h, w)."""
    channels = {"f": case["dim"], **dict(zip(LEVELS, case["channels"]))}
    inputs = {}
    for name, seed in case["input_seeds"].items():
        shape = (case["batch"], 4, channels[name], *case["sizes"][name.replace("f", "c1")])
        scale = 1.0 if name == "f" else case["levels_scale"]
        inputs[name] = (golden_cases.normal(seed, shape) * scale).requires_grad_()
    return inputs


@pytest.fixture(scope="module", params=CASES)
def run(request):
    return Run(request.param)


@pytest.fixture(scope="module", params=STORES_MORE)
def detailed_run(request):
    return Run(request.param)


def test_logits_and_refined_cells_agree(run):
    for ours, name in ((run.logits, "logits"), (run.refined.cells, "refined")):
        torch.testing.assert_close(ours.detach(), run.expected[name], rtol=0, atol=1e-5)


def test_gradients_of_the_input_agree(run):
    names = [name for name in run.inputs if f"grad_{name}" in run.expected]
    assert len(names) == (0 if run.case["variant"] == "b2" else 4)
    for name in names:
        expected = run.expected[f"grad_{name}"]
        atol = 1e-5 * max(1.0, expected.abs().max().item())
        torch.testing.assert_close(run.inputs[name].grad, expected, rtol=0, atol=atol)


def test_gradient_norm_of_every_parameter_and_input_agrees(run):
    official = golden_cases.names_in(run.case["state_dict"])
    ours = {
        official[f"temporal.{name}"]: parameter.grad.norm().item()
        for name, parameter in run.head.named_parameters()
    }
    ours |= {name: feature.grad.norm().item() for name, feature in run.inputs.items()}
    expected = run.case["grad_norm"]
    assert set(ours) == set(expected)
    for name in set(expected) - set(run.case["zero_gradient"]):
        assert ours[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-6), name


def test_in_inference_it_gives_the_refined_cells_alone(run):
    module = run.head.module.eval()
    with torch.no_grad():
        refined = module.mine(run.target, run.tokens)
    module.train()
    torch.testing.assert_close(refined, run.expected["refined"], rtol=0, atol=1e-5)


def test_what_each_reference_gives_agrees(detailed_run):
    ours = torch.stack(detailed_run.refined.auxiliary, dim=1).detach()
    torch.testing.assert_close(ours, detailed_run.expected["aggregated"], rtol=0, atol=1e-5)


def test_the_chosen_tokens_and_their_mined_affinities_agree(detailed_run):
    module, target = detailed_run.head.module, detailed_run.target
    chosen = detailed_run.expected["selected"]  # (B, 3, n)
    affinity = detailed_run.expected["affinity"]  # (B, 3, cells, s), tokens in rising order
    (mined,) = detailed_run.mined
    by_reference = mined.detach().flatten(2).chunk(TARGET)
    for i, tokens in enumerate(detailed_run.tokens):
        query = module.queries[-1](target.levels[-1].flatten(2).transpose(1, 2))
        keys = tokens.coarse_keys
        raw = affinities(query, keys.flatten(2).transpose(1, 2))
        selected = select_tokens(raw, keys.shape[2:], tokens.grid, module.keep, module.score_cells)
        is_chosen = torch.zeros_like(chosen[:, i]).scatter(1, selected, True)
        assert torch.equal(is_chosen, chosen[:, i])
        rising = selected.argsort(dim=1)[:, :, None]
        ours = by_reference[i].gather(1, rising.expand_as(by_reference[i])).transpose(1, 2)
        atol = 1e-5 * max(1.0, affinity[:, i].abs().max().item())
        torch.testing.assert_close(ours, affinity[:, i], rtol=0, atol=atol)
