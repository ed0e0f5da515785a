"""Switches that make training faster leave what is trained as it is."""

import copy

import pytest
import torch
from torch._dynamo.utils import counters

from cffm_plugin.engine import CFFMTrainer


def trained(cfg, **changes):
    """Parameters after two steps with these config keys, and the losses on the way."""
    cfg = copy.deepcopy(cfg)
    cfg.OUTPUT_DIR += "_" + "_".join([*changes, *map(str, changes.values())])
    cfg.SOLVER.MAX_ITER, cfg.TEST.EVAL_PERIOD, cfg.DATASETS.TEST = 2, 0, ()
    cfg.merge_from_list([word for key in changes.items() for word in key])
    torch.manual_seed(0)
    trainer = CFFMTrainer(cfg)
    losses = []
    trainer.model.register_forward_hook(
        lambda module, args, out: losses.append(float(sum(out.values()).detach()))
    )
    trainer.train()
    assert len(losses) == 2
    return losses, dict(trainer.model.named_parameters()), trainer


@pytest.fixture(scope="module")
def done():
    """Trainings by their names: what every test compares itself with is trained once."""
    return {}


@pytest.fixture
def plain(cfg, done):
    """The same training without a switch, and nothing random in it."""
    cfg.SEED = 0
    cfg.MODEL.MIT.DROP_PATH_RATE = 0.0
    cfg.MODEL.SEM_SEG_HEAD.DROPOUT = cfg.MODEL.TEMPORAL.DROPOUT = 0.0
    if "plain" not in done:
        done["plain"] = trained(cfg)[:2]
    return done["plain"]


def assert_the_same(plain, losses, parameters, tolerance):
    assert losses == pytest.approx(plain[0], rel=tolerance)
    for name, parameter in parameters.items():
        # Adam's first steps are of the size of the learning rate, whatever that of the gradient.
        difference = (parameter - plain[1][name]).abs()
        assert difference.mean() < tolerance, name


@pytest.mark.parametrize(
    ("key", "tolerance"),
    [
        ("SOLVER.FUSED", 1e-5),
        ("MODEL.CHANNELS_LAST", 1e-3),
        pytest.param("SOLVER.COMPILE", 1e-3, marks=pytest.mark.own_process),
    ],
)
def test_a_switch_for_speed_leaves_losses_and_steps_as_they_are(cfg, plain, key, tolerance):
    cfg.COMPILE.BACKEND = "eager"  # traced as by inductor, without a minute of C++ compilers
    before = counters["stats"]["unique_graphs"]
    losses, parameters, _ = trained(cfg, **{key: True})
    assert_the_same(plain, losses, parameters, tolerance)
    assert (counters["stats"]["unique_graphs"] > before) == (key == "SOLVER.COMPILE")


def test_bfloat16_trains_on_a_cpu_with_weights_in_float32(cfg, plain):
    keys = {"SOLVER.AMP.ENABLED": True, "SOLVER.AMP.PRECISION": "bfloat16"}
    losses, parameters, trainer = trained(cfg, **keys)
    assert_the_same(plain, losses, parameters, 0.03)
    assert losses != plain[0]  # it did compute in bfloat16
    assert {parameter.dtype for parameter in parameters.values()} == {torch.float32}
    assert "grad_scaler" not in trainer._trainer.state_dict()


def test_an_unknown_precision_is_an_error_that_names_the_key(cfg):
    cfg.SOLVER.AMP.PRECISION = "int8"
    with pytest.raises(ValueError, match=r"SOLVER.AMP.PRECISION.*bfloat16.*int8"):
        CFFMTrainer(cfg)


def test_an_unknown_backend_of_compile_is_an_error_that_names_the_key(cfg):
    cfg.SOLVER.COMPILE, cfg.COMPILE.BACKEND = True, "nonsense"
    with pytest.raises(ValueError, match=r"COMPILE.BACKEND.*inductor.*nonsense"):
        CFFMTrainer(cfg)


@pytest.mark.parametrize(
    "name",
    ["backbone.block1.0.attn.sr", "sem_seg_head.predictor", "temporal.module.blocks.0.mlp.fc2"],
)
def test_what_is_wrong_in_bfloat16_trains_in_float32(cfg, plain, name, caplog):
    """With a map that is wrong under autocast, losses and steps are as near to float32's."""
    trained_with = CFFMTrainer.build_model

    def with_a_wrong_map(cfg):
        model = trained_with(cfg)
        module = model.get_submodule(name)
        module.__class__ = type("Wrong", (type(module),), {"forward": _negated_in_bfloat16})
        return model

    CFFMTrainer.build_model = staticmethod(with_a_wrong_map)
    try:
        keys = {"SOLVER.AMP.ENABLED": True, "SOLVER.AMP.PRECISION": "bfloat16"}
        losses, parameters, _ = trained(cfg, **keys)
    finally:
        CFFMTrainer.build_model = trained_with
    assert_the_same(plain, losses, parameters, 0.03)
    assert [name in record.message for record in caplog.records].count(True) == 1


def _negated_in_bfloat16(self, x):
    output = super(type(self), self).forward(x)
    return -output if output.dtype == torch.bfloat16 else output
