"""projects/Mask2Former/uncompiled.py: what is not compiled has an equal, what is stays."""

import importlib
import sys
import types
from pathlib import Path

import pytest
from pycocotools.cocoeval import COCOeval

from cffm_plugin.config import load_config

FILE = Path(__file__).parents[2] / "projects" / "Mask2Former" / "uncompiled.py"
ATTENTION, FAST_COCO = "MultiScaleDeformableAttention", "detectron2.evaluation.fast_eval_api"


@pytest.fixture
def run(monkeypatch):
    """Run the file as a config's import does; what it put into sys.modules is gone afterwards."""
    for name in (ATTENTION, FAST_COCO):
        monkeypatch.setitem(sys.modules, name, None)  # so that it is put back
        monkeypatch.delitem(sys.modules, name)

    def run():
        exec(compile(FILE.read_text(), str(FILE), "exec"), {"__name__": "uncompiled"})

    return run


def test_what_mask2former_imports_is_there(run):
    """Its attention catches every error of the compiled function and goes over to plain torch."""
    run()
    attention = importlib.import_module(ATTENTION)
    with pytest.raises(AttributeError):
        attention.ms_deform_attn_forward  # noqa: B018
    assert importlib.import_module(FAST_COCO).COCOeval_opt is COCOeval


def test_what_is_compiled_is_used(run, tmp_path, monkeypatch):
    (tmp_path / f"{ATTENTION}.py").write_text("compiled = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    fast = types.ModuleType(FAST_COCO)
    monkeypatch.setitem(sys.modules, FAST_COCO, fast)
    run()
    assert importlib.import_module(ATTENTION).compiled
    assert sys.modules[FAST_COCO] is fast


def test_the_projects_configs_import_it_before_mask2former():
    cfg = load_config(str(FILE.parent / "configs" / "cffm_mask2former_r50_vspw.yaml"))
    assert [str(FILE), "mask2former"] == cfg.MODEL.IMPORTS
