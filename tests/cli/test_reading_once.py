"""A command reads its config, its overrides and its weights once."""

import builtins
import io
import os
from collections import Counter

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from cffm_plugin.checkpoint import INFO_KEY, ModelInfo
from cffm_plugin.cli import demo, evaluate, export, segment_videos

# Of the weights: their header, which may hold the config that the model is built by and has the
# names of its classes; and all of it, once there is a model that takes them.
HEADER_AND_ALL = 2


@pytest.fixture
def files(tiny_cffm_cfg, tmp_path):
    """mine.yaml and weights.pth, which carries its config and its classes."""
    cfg = tiny_cffm_cfg
    names = [f"class {k}" for k in range(cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES)]
    info = ModelInfo.from_config(cfg, names, [(k, k, k) for k in range(len(names))])
    weights = build_model(cfg).state_dict()
    torch.save({"model": weights, INFO_KEY: info.as_dict()}, tmp_path / "weights.pth")
    (tmp_path / "mine.yaml").write_text(cfg.dump())
    return tmp_path


@pytest.fixture
def count(files, monkeypatch):
    """Run a command; gives how often each file of ``files`` was opened, and overrides merged."""

    def call(command, *arguments):
        counts = Counter()
        opened, merge = builtins.open, CfgNode.merge_from_list

        def counting_open(file, *args, **kwargs):
            if not isinstance(file, int):
                counts[os.path.basename(file)] += 1
            return opened(file, *args, **kwargs)

        def counting_merge(cfg, overrides):
            counts["overrides"] += 1
            return merge(cfg, overrides)

        with monkeypatch.context() as patch:
            patch.setattr(builtins, "open", counting_open)
            patch.setattr(io, "open", counting_open)
            patch.setattr(CfgNode, "merge_from_list", counting_merge)
            assert command.main([str(word) for word in arguments]) == 0
        names = ("mine.yaml", "weights.pth", "overrides")
        return {name: counts[name] for name in names if counts[name]}

    return call


@pytest.fixture
def frames(tiny_vspw):
    return sorted((tiny_vspw.root / "data" / "v0" / "origin").iterdir())[:2]


def test_demo_reads_each_file_once(count, files, frames):
    arguments = ("--input", *frames, "--output", files / "painted")
    weights = ("--opts", "MODEL.WEIGHTS", files / "weights.pth")
    config = ("--config-file", files / "mine.yaml")
    assert count(demo, *config, *arguments, *weights) == {
        "mine.yaml": 1,
        "weights.pth": HEADER_AND_ALL,
        "overrides": 1,
    }


def test_demo_of_a_checkpoint_alone_reads_it_once(count, files, frames):
    arguments = ("--input", *frames, "--output", files / "painted")
    weights = ("--opts", "MODEL.WEIGHTS", files / "weights.pth")
    assert count(demo, *arguments, *weights) == {"weights.pth": HEADER_AND_ALL, "overrides": 1}


def test_evaluation_reads_each_file_once(count, files):
    found = count(
        evaluate,
        *("--config-file", files / "mine.yaml"),
        *("MODEL.WEIGHTS", files / "weights.pth", "OUTPUT_DIR", files / "output"),
    )
    # The second is of detectron2's default_setup, which copies the file into the log.
    assert found == {"mine.yaml": 2, "weights.pth": 1, "overrides": 1}


def test_export_takes_the_config_that_the_checkpoint_carries(count, files, monkeypatch):
    # The graphs, which take long, are of no matter here.
    written = files / "exported" / "stream.json"
    written.parent.mkdir()
    monkeypatch.setattr("cffm_plugin.cli.work.export.export_stream", lambda *_, **__: written)
    arguments = ("--output", files / "exported", "--size", 32, 32, "--format", "torch_export")
    weights = ("--opts", "MODEL.WEIGHTS", files / "weights.pth")
    assert count(export, *arguments, *weights) == {
        "weights.pth": HEADER_AND_ALL,
        "overrides": 1,
    }


def test_segmenting_many_videos_reads_the_config_once(count, files, frames):
    arguments = ("--input", frames[0].parent, "--masks", files / "masks")
    weights = ("--opts", "MODEL.WEIGHTS", files / "weights.pth")
    assert count(segment_videos, *arguments, *weights) == {
        "weights.pth": HEADER_AND_ALL + 1,  # its digest, which stands beside the label maps
        "overrides": 1,
    }
