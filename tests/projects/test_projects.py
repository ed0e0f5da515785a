"""The projects: their configs, and the commands of their READMEs with models made tiny."""

import json
import math
import os
import re
import shlex
from pathlib import Path

import pytest
import warm_process
from detectron2.config import CfgNode
from tiny_dataset import write_vspw_tree

from cffm_plugin.config import load_config

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "projects").glob("*/configs/*.yaml"))
TINY = [
    *("INPUT.CLIP.FIT_SIZE", "(64, 48)", "INPUT.CROP.SIZE", "[32, 32]", "SOLVER.MAX_ITER", "3"),
    *("MODEL.CFFM.DEPTH", "1", "MODEL.CFFM.NUM_HEADS", "4"),
]
# Project -> what makes its model tiny.
PROJECTS = {
    "SemanticFPN": [
        *("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"),
        *("MODEL.FPN.OUT_CHANNELS", "32", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "32"),
    ],
    "DeepLabV3Plus": [
        *("MODEL.RESNETS.STEM_OUT_CHANNELS", "16", "MODEL.RESNETS.RES2_OUT_CHANNELS", "16"),
        *("MODEL.RESNETS.WIDTH_PER_GROUP", "4", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16"),
        *("MODEL.SEM_SEG_HEAD.ASPP_CHANNELS", "16", "MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS", "[8]"),
    ],
    "SwinSegFormer": ["MODEL.TIMM.NAME", "test_convnext", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16"],
    # tests/mask2former.py stands in for Mask2Former.
    "Mask2Former": [
        *("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"),
        *("MODEL.RESNETS.NORM", "BN"),
    ],
    "EfficientCamVid": [
        *("MODEL.TIMM.NAME", "test_efficientnet", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16")
    ],
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """$DETECTRON2_DATASETS with a tiny dataset in place of the generated one."""
    folder = tmp_path_factory.mktemp("datasets")
    videos = {"train": {"t0": 12, "t1": 11}, "val": {"v0": 6}}
    write_vspw_tree(folder / "synthetic_vspw", videos)
    return folder


def training_command(project):
    """Python's arguments for the README's last command, which trains on the generated dataset."""
    readme = (ROOT / "projects" / project / "README.md").read_text()
    block = re.findall(r"```bash\n(.*?)```", readme, re.DOTALL)[-1].replace("\\\n", " ")
    *_, command = block.strip().splitlines()
    program, *words = shlex.split(command)
    return {"python": [], "cffm": ["-m", "cffm_command"]}[program] + words


@pytest.mark.parametrize("project", PROJECTS)
def test_the_readmes_command_trains_and_evaluates(project, datasets, tmp_path):
    command = training_command(project)
    result = warm_process.run(
        [*command, *TINY, *PROJECTS[project], "OUTPUT_DIR", str(tmp_path)],
        env={
            **os.environ,
            "DETECTRON2_DATASETS": str(datasets),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        },
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    losses = json.loads((tmp_path / "metrics.json").read_text().splitlines()[0])
    assert losses["iteration"] == 2
    image_loss = "loss_ce" if project == "Mask2Former" else "loss_sem_seg"
    assert all(math.isfinite(losses[name]) for name in (image_loss, "loss_video"))
    scores = json.loads((tmp_path / "inference" / "vspw_results.json").read_text())
    assert 0 <= scores["sem_seg"]["mIoU"] <= 100


def flatten(cfg, prefix=""):
    for key, value in cfg.items():
        if isinstance(value, CfgNode):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@pytest.mark.parametrize(
    "file", [f for f in CONFIGS if f.stem.startswith("cffm")], ids=lambda f: f.stem
)
def test_cffm_and_its_baseline_differ_in_nothing_but_cffm(file):
    """The baseline is what the CFFM config is based on."""
    (base,) = re.findall(r'^_BASE_: "(.*)"$', file.read_text(), re.MULTILINE)
    cffm, baseline = (dict(flatten(load_config(str(f)))) for f in (file, file.parent / base))
    assert {k for k in cffm if cffm[k] != baseline[k]} == {"MODEL.TEMPORAL.ENABLED", "OUTPUT_DIR"}
    assert cffm["MODEL.TEMPORAL.ENABLED"] and not baseline["MODEL.TEMPORAL.ENABLED"]


@pytest.mark.parametrize("project", PROJECTS)
def test_readmes_name_configs_that_are_there(project):
    readme = (ROOT / "projects" / project / "README.md").read_text()
    named = set(re.findall(r"(?:projects|tools)/\S+\.(?:yaml|py)", readme))
    named |= {f"projects/{project}/configs/{n}" for n in re.findall(r"`(\w+\.yaml)`", readme)}
    assert len(named) >= 2  # both configs
    assert [name for name in named if not (ROOT / name).is_file()] == []
