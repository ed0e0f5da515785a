"""Who may import whom, and what works without detectron2."""

import ast
import re
import subprocess
import sys

import pytest
from fresh_process import ROOT, run_without

PACKAGE = ROOT / "cffm_plugin"

# Folder of the package -> the others that it may import.
MAY_IMPORT = {
    "core": set(),
    "modeling": {"core"},
    "data": {"core"},
    "pictures": set(),
    "evaluation": {"data", "core"},
    "checkpoint": {"core", "modeling"},
    "inference": {"core", "modeling", "data", "checkpoint"},
    "engine": {
        *("core", "modeling", "data", "pictures", "evaluation", "checkpoint", "inference"),
    },
    # Leaves: nothing above imports them.
    "synthetic": {"data"},
    "doctor": {"core", "data", "modeling", "evaluation", "inference", "video"},
    "video": {"core", "data", "pictures", "modeling", "inference", "engine"},
    "web": {"checkpoint", "inference", "engine", "video"},
    "export": {"core", "modeling", "data", "inference"},
    "benchmark": {"core", "modeling", "data", "inference", "engine", "synthetic"},
    "experiments": set(),
    "model_zoo": {"checkpoint", "engine", "modeling"},
    "hub": {"data", "modeling", "checkpoint", "inference", "engine"},
    # What persons type: all of it.
    "cli": {
        *("core", "data", "modeling", "evaluation", "checkpoint", "inference", "engine"),
        *(
            "synthetic",
            "web",
            "doctor",
            "video",
            "export",
            "benchmark",
            "experiments",
            "model_zoo",
            "hub",
            "report",
        ),
        "pictures",
    },
    "report": {"data", "evaluation"},
}
NOT_IN_CORE = {"detectron2", "fvcore", "timm", "torchvision", "cv2", "numpy"}
FILES_FOR_ALL = {
    "config",
    "config_files",
    "constants",
    "errors",
    "files",
    "foreign_parts",
    "hub_files",
    "libraries",
    "needs_detectron2",
    "registration",
    "results",
    "shipped_configs",
    "stopping",
    "video_segmentor",
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


def test_the_law_speaks_of_every_folder():
    folders = {f.name for f in PACKAGE.iterdir() if f.is_dir() and f.name != "__pycache__"}
    assert set(MAY_IMPORT) == folders


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_the_architecture_allows(folder):
    files = list((PACKAGE / folder).rglob("*.py"))
    assert files
    for file in files:
        for name in imports_of(file):
            parts = name.split(".")
            if parts[0] != "cffm_plugin" or len(parts) == 1:
                continue
            if folder == "core":
                assert parts[1] == "core", f"{file} imports {name}"
            allowed = MAY_IMPORT[folder] | FILES_FOR_ALL | {folder}
            assert parts[1] in allowed, f"{file} imports {name}"
            if {folder, parts[1]} == {"data", "evaluation"}:  # not each other's insides
                assert len(parts) <= 3, f"{file} imports {name}"


def test_nothing_asks_of_which_kind_a_prediction_is():
    """Neither by its class, outside the one function that takes what heads give, nor otherwise."""
    asked = re.compile(r"isinstance\([^\n]*(Prediction|Coarse)|\.gives_logits|[\"']gives_logits")
    asking = {file.name for file in PACKAGE.rglob("*.py") if asked.search(file.read_text("utf-8"))}
    assert asking == {"prediction.py", "mask_prediction.py"}


@pytest.mark.parametrize("folder", ["engine", "evaluation"])
def test_training_and_evaluation_know_no_reports(folder):
    """Commands make them, when a job has ended."""
    for file in (PACKAGE / folder).rglob("*.py"):
        assert "report" not in file.read_text().lower(), file


METRIC_NAME = re.compile(r"mIoU|fwIoU|mACC|pACC|IoU-?|m?VC(\d.*)?|TA(\d.*)?|strict[ _]VC")


def strings_of(file):
    """The string constants of a file, docstrings left out."""
    tree = ast.parse(file.read_text())
    docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    constants = (n for n in ast.walk(tree) if isinstance(n, ast.Constant))
    return [n.value for n in constants if isinstance(n.value, str) and id(n) not in docstrings]


def test_metric_names_are_written_in_one_module():
    writing = {
        file.relative_to(ROOT).as_posix()
        for folder in (PACKAGE, ROOT / "lab", ROOT / "tools")
        for file in folder.rglob("*.py")
        if any(METRIC_NAME.fullmatch(text) for text in strings_of(file))
    }
    assert writing == {"cffm_plugin/results.py"}


def test_core_needs_torch_alone():
    for file in (PACKAGE / "core").rglob("*.py"):
        for name in imports_of(file):
            assert name.split(".")[0] not in NOT_IN_CORE, f"{file} imports {name}"


def test_tools_do_not_import_one_another():
    tools = {file.stem for file in (ROOT / "tools").glob("*.py")}
    for file in (ROOT / "tools").glob("*.py"):
        assert not {name.split(".")[0] for name in imports_of(file)} & tools, file


@pytest.mark.parametrize("folder", ["core", "modeling"])
def test_files_of_the_product_stay_small(folder):
    for file in (PACKAGE / folder).rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 400, file


def test_functions_stay_small():
    for file in [*PACKAGE.rglob("*.py"), *(ROOT / "tools").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{file}: {node.name}"


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
