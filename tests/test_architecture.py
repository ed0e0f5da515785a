"""Who may import whom, and what works without detectron2."""

import ast
import subprocess
import sys

import pytest
from fresh_process import ROOT, run_without

PACKAGE = ROOT / "cffm_plugin"

# Part of the package -> parts that it must not import.
FORBIDDEN = {
    "core": {
        *("modeling", "data", "evaluation", "engine", "checkpoint", "config", "export"),
        *("detectron2", "fvcore", "timm", "torchvision", "cv2"),
    },
    "modeling": {"data", "evaluation", "engine", "checkpoint", "inference", "export"},
    "data": {"modeling", "evaluation", "engine", "checkpoint", "inference", "core", "export"},
    "evaluation": {"modeling", "engine", "checkpoint", "inference", "core", "export"},
    "checkpoint": {"data", "evaluation", "engine", "inference", "export"},
    "inference": {"evaluation", "engine", "export"},
    "export": {"evaluation", "engine"},
}


def imports_of(file):
    """Absolute dotted names that a file imports, relative imports resolved."""
    package = file.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += (node.module or "").split(".") if node.module else []
            yield ".".join(base)
            yield from (".".join([*base, alias.name]) for alias in node.names)


@pytest.mark.parametrize("part", FORBIDDEN)
def test_parts_import_only_what_the_architecture_allows(part):
    files = list((PACKAGE / part).rglob("*.py"))
    assert files
    for file in files:
        for name in imports_of(file):
            top = name.removeprefix("cffm_plugin.").split(".")[0]
            assert top not in FORBIDDEN[part], f"{file} imports {name}"


def test_nothing_in_the_package_imports_tools_or_projects():
    for file in PACKAGE.rglob("*.py"):
        for name in imports_of(file):
            assert name.split(".")[0] not in ("tools", "projects", "tests"), f"{file}: {name}"


def test_cffm_runs_without_detectron2():
    result = run_without(
        ["detectron2"],
        """
        import torch
        import cffm_plugin
        from cffm_plugin.core import CFFM

        assert cffm_plugin.CFFM is CFFM
        out = CFFM(16, 1, num_heads=2)(torch.zeros(1, 4, 16, 5, 5))
        assert out.shape == (1, 16, 5, 5)
        assert not any(name.startswith("detectron2") for name in sys.modules)
        """,
    )
    assert result.returncode == 0, result.stderr


def test_what_needs_detectron2_says_how_to_get_it():
    result = run_without(["detectron2"], "from cffm_plugin import add_cffm_config")
    assert result.returncode != 0
    assert "needs detectron2" in result.stderr and "make setup" in result.stderr


def test_importing_the_package_does_not_touch_the_datasets(tmp_path):
    code = "import cffm_plugin; from detectron2.data import DatasetCatalog as D; D['vspw_val']"
    result = subprocess.run(
        [sys.executable, "-c", code.split(";")[0]],
        env={"DETECTRON2_DATASETS": str(tmp_path / "nowhere"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
