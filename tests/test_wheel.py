"""What `python -m build` makes is complete: it trains and evaluates without the repository."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from fresh_process import ROOT

# A repository's folders that are not of it, which may be large.
_NOT_COPIED = shutil.ignore_patterns(
    *(".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "build", "dist", "output"),
    *("*.pth", "*.pkl", "pretrained", "converted"),
)
TINY = [
    *("MODEL.WEIGHTS", "", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16", "MODEL.CFFM.NUM_HEADS", "4"),
    *("SOLVER.MAX_ITER", "2", "DATALOADER.NUM_WORKERS", "0", "INPUT.CROP.SIZE", "[32, 32]"),
    *("INPUT.CLIP.FIT_SIZE", "(64, 48)"),
]


DATASET = [
    *("--output", "datasets/synthetic_vspw", "--videos", 2, 1, 0, "--frames", 12),
    *("--size", 48, 64, "--jobs", 1),
]


def _copied(folder, names):
    if folder == str(ROOT / "datasets"):
        return {name for name in names if name != "README.md"}
    return _NOT_COPIED(folder, names)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with an sdist, and the wheel that was made of the sdist."""
    source = tmp_path_factory.mktemp("source") / "repository"
    shutil.copytree(ROOT, source, ignore=_copied)
    output = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output), source]
    result = subprocess.run(command, capture_output=True, text=True, cwd=output)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return output


@pytest.fixture(scope="module")
def wheel(built):
    (file,) = built.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder with the installed wheel alone."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--disable-pip-version-check", "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.fixture(scope="module")
def run(installed, tmp_path_factory):
    """Run a command of the wheel in a folder of its own; gives that folder and what was said."""
    folder = tmp_path_factory.mktemp("nothing_here")
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "PYTHONPATH": str(installed),
        "DETECTRON2_DATASETS": str(folder / "datasets"),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }

    def run_command(*command):
        result = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        said = result.stdout + result.stderr
        assert result.returncode == 0, said[-3000:]
        assert str(ROOT) not in said.replace(sys.prefix, ""), "the repository was used"
        return folder, said

    return run_command


def test_the_wheel_holds_all_that_the_package_does_and_every_config(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    package = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "cffm_plugin").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert package <= held
    configs = {file.relative_to(ROOT).as_posix() for file in (ROOT / "configs").rglob("*.yaml")}
    assert configs and {f"cffm_plugin/{name}" for name in configs} <= held
    others = {name.partition("/")[0] for name in held}
    assert {name for name in others if not name.endswith(".dist-info")} == {
        "cffm_plugin",
        "cffm_command.py",
    }


def test_the_sdist_holds_what_the_repository_needs_to_be_set_up_and_tested(built):
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("Makefile", "README.md", "LICENSE", "MANIFEST.in", "requirements/lock.txt"):
        assert name in held
    for folder in ("configs", "docs", "lab", "projects", "tests", "tools"):
        files = (f for f in (ROOT / folder).rglob("*") if f.suffix in (".py", ".md", ".yaml"))
        ours = {f.relative_to(ROOT).as_posix() for f in files if "output" not in f.parts}
        assert ours and ours <= held, ours - held


@pytest.fixture(scope="module")
def imported(run):
    """What the installed package says of itself; a dataset is written by the way."""
    code = (
        "import cffm_plugin, cffm_command; from cffm_plugin import model_zoo;"
        "print(cffm_plugin.__file__); print(cffm_command.__file__);"
        "print(len(model_zoo.list_configs())); print(model_zoo.get_config_file('quickstart/cffm'));"
        f"cffm_command.main({['synthetic', *map(str, DATASET)]})"
    )
    _, said = run("-c", code)
    return said.splitlines()[:4]


def test_the_installed_package_is_what_is_imported_and_knows_its_configs(imported, installed):
    package, command, number, config = imported
    assert package == str(installed / "cffm_plugin" / "__init__.py")
    assert command == str(installed / "cffm_command.py")
    ours = [f for f in (ROOT / "configs").rglob("*.yaml") if not f.name.startswith("Base-")]
    assert int(number) == len(ours)
    assert config == str(installed / "cffm_plugin" / "configs" / "quickstart" / "cffm.yaml")


@pytest.mark.slow(reason="builds and installs the wheel, and trains with it")
@pytest.mark.usefixtures("imported")
def test_a_model_is_trained_in_two_processes_and_evaluated_without_a_repository(run, installed):
    cffm = installed / "bin" / "cffm"
    config = ("--config-file", "quickstart/cffm")
    folder, said = run(
        *(cffm, "train", *config, "--num-gpus", "2"), *("OUTPUT_DIR", "trained", *TINY)
    )
    assert (folder / "trained" / "model_final.pth").is_file()
    assert "mIoU" in said
    weights = ("MODEL.WEIGHTS", "trained/model_final.pth", "OUTPUT_DIR", "evaluated")
    run(cffm, "evaluate", *config, *TINY, *weights)
    results = [
        (folder / name / "inference" / "vspw_results.json").read_text()
        for name in ("trained", "evaluated")
    ]
    assert results[0] == results[1] and '"mIoU"' in results[0]
