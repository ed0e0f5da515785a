"""What set-up installs is what requirements/ names, to the byte."""

import base64
import hashlib
import importlib.metadata
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from fresh_process import ROOT
from locked_requirements import INSTALLED, REQUIREMENTS, asked_for, entries, locked_versions
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.mark.parametrize("name", [*INSTALLED, "uv"])
def test_every_requirement_is_one_version_with_hashes(name):
    assert {file.stem for file in REQUIREMENTS.glob("*.txt")} == {*INSTALLED, "uv"}
    found = list(entries(name))
    assert found
    for requirement, hashes in found:
        assert [s.operator for s in requirement.specifier] == ["=="], requirement
        assert hashes and requirement.url is None, requirement


@pytest.mark.parametrize("file", sorted(REQUIREMENTS.iterdir()), ids=lambda file: file.name)
def test_no_file_names_an_index_or_a_path(file):
    for line in file.read_text().splitlines():
        assert "://" not in line
        assert not line.startswith(("-", "/", ".")), "an option or a path of pip's"


def test_two_files_never_differ_about_a_package():
    files = {}
    for name in INSTALLED:
        for requirement, hashes in entries(name):
            per_file = files.setdefault(canonicalize_name(requirement.name), {})
            per_file.setdefault(name, set()).add((str(requirement.specifier), *sorted(hashes)))
    shared = {package: list(found.values()) for package, found in files.items() if len(found) > 1}
    assert "numpy" in shared
    for package, found in shared.items():
        assert all(entry == found[0] for entry in found), package


@pytest.mark.parametrize("name", ["build", "torch", "lock", "uv"])
def test_the_locked_versions_are_what_was_asked_for(name):
    locked = {canonicalize_name(r.name): next(iter(r.specifier)).version for r, _ in entries(name)}
    for requirement in asked_for(name):
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}: make lock"


def test_what_the_package_asks_for_is_locked_in_a_version_that_it_takes():
    locked = locked_versions()
    for line in importlib.metadata.requires("cffm-plugin"):
        requirement = Requirement(line)
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), line


def test_the_environment_holds_what_the_files_name_and_nothing_else():
    # The environment's alone: setuptools, once imported, puts packages of its own on sys.path.
    installed = importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
    found = {canonicalize_name(d.name): d.version for d in installed}
    # detectron2 may be a person's own; pip comes with Python.
    for own in ("pip", "cffm-plugin", "detectron2", "sal-detectron2"):
        found.pop(own, None)
    locked = locked_versions()
    del locked["sal-detectron2"]
    # A build of torch of one's own is the locked version with a local label.
    public = {name: version.partition("+")[0] for name, version in found.items()}
    assert public == locked, "`make clean` and `make setup` make the environment anew"


def fake_wheel(folder, name, version):
    """A wheel of another's name and version that pip takes for whole."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": "fake = True\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD"
    lines = [f"{record},,"]
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        lines.append(f"{path},sha256={digest.decode()},{len(text)}")
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, record: "\n".join(lines) + "\n"}.items():
            wheel.writestr(path, text)


def pip_install(folder, target, *args):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--find-links", folder, "--target", target, *args]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_fake_wheel_of_a_locked_version_is_refused_where_pip_alone_would_take_it(tmp_path):
    requirement, hashes = next((r, h) for r, h in entries("lock") if r.name == "yacs")
    fake_wheel(tmp_path, "yacs", next(iter(requirement.specifier)).version)
    (tmp_path / "pinned.txt").write_text(f"{requirement}\n")
    (tmp_path / "hashed.txt").write_text(f"{requirement} {' '.join(hashes)}\n")

    taken = pip_install(tmp_path, tmp_path / "pinned", "-r", tmp_path / "pinned.txt")
    refused = pip_install(
        tmp_path, tmp_path / "hashed", "--require-hashes", "-r", tmp_path / "hashed.txt"
    )

    assert taken.returncode == 0 and (tmp_path / "pinned/yacs/__init__.py").exists()
    assert refused.returncode != 0 and not (tmp_path / "hashed/yacs").exists()
    assert str(requirement) in refused.stderr and "Expected sha256" in refused.stderr


def set_up(venv, *args):
    command = [sys.executable, ROOT / "tools/setup_environment.py", "--venv", venv, *args]
    return subprocess.run(command, capture_output=True, text=True)


def test_set_up_stops_at_a_fake_wheel_and_says_what_to_do(tmp_path):
    version = locked_versions()["setuptools"]
    fake_wheel(tmp_path, "setuptools", version)
    stopped = set_up(tmp_path / "venv", f"--pip-args=--no-index --find-links {tmp_path}")
    assert stopped.returncode != 0
    assert f"setuptools=={version}" in stopped.stderr and "Expected sha256" in stopped.stderr
    assert "it was not installed" in stopped.stderr and "build.txt" in stopped.stderr
    assert not (tmp_path / "venv/setup-complete").exists()
    assert not list((tmp_path / "venv").rglob(f"setuptools-{version}.dist-info"))


class StandIn:
    """An environment whose interpreter writes down what set-up asks of it, and does nothing."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.site_packages = folder / "site-packages"
        self.site_packages.mkdir(parents=True)
        (folder / "bin").mkdir()
        self.fails_on("import detectron2")

    def fails_on(self, *words):
        python = self.folder / "bin/python"
        python.write_text(
            f"#!{sys.executable}\n"
            "import sys\n"
            f"open({str(self.folder / 'calls')!r}, 'a').write('\\t'.join(sys.argv[1:]) + '\\n')\n"
            f"print({str(self.site_packages)!r})\n"
            f"sys.exit(any(a.endswith(w) for a in sys.argv for w in {words!r}))\n"
        )
        python.chmod(0o755)

    def set_up(self, *args):
        (self.folder / "calls").write_text("")
        return set_up(self.folder, *args).returncode

    def installs(self):
        """The arguments of each `pip install` of the last call."""
        calls = (line.split("\t") for line in (self.folder / "calls").read_text().splitlines())
        return [call[call.index("install") + 1 :] for call in calls if "install" in call]

    def files_installed(self):
        return [Path(call[call.index("-r") + 1]).stem for call in self.installs() if "-r" in call]


@pytest.fixture
def stand_in(tmp_path):
    return StandIn(tmp_path / "venv")


def test_set_up_installs_every_file_and_each_with_its_hashes(stand_in):
    assert stand_in.set_up() == 0
    assert stand_in.files_installed() == INSTALLED
    *from_files, ourselves = stand_in.installs()
    assert all("--require-hashes" in call for call in from_files)
    assert "--editable" in ourselves and "--no-deps" in ourselves
    # Nothing that builds a package is downloaded on the way.
    assert "--no-build-isolation" in from_files[2] and "--no-build-isolation" in ourselves


@pytest.mark.parametrize(
    ("library", "argument"),
    [
        ("torch", "torch==9.9 --index-url https://example.org"),
        ("detectron2", "/my/detectron2"),
    ],
)
def test_ones_own_library_takes_the_place_of_the_locked_one_and_of_nothing_else(
    stand_in, library, argument
):
    stand_in.set_up(f"--{library}={argument}")
    assert stand_in.files_installed() == [name for name in INSTALLED if name != library]
    words = argument.split()
    assert words in [call[-len(words) :] for call in stand_in.installs()]


def test_arguments_for_pip_reach_every_call_and_leave_the_hashes_required(stand_in):
    stand_in.set_up("--pip-args=--index-url https://example.org")
    assert all(call[1:3] == ["--index-url", "https://example.org"] for call in stand_in.installs())
    assert sum("--require-hashes" in call for call in stand_in.installs()) == len(INSTALLED)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_set_up_that_stopped_at_any_file_is_repeated_and_then_done(stand_in, name):
    stand_in.fails_on("import detectron2", f"{name}.txt")
    assert stand_in.set_up() != 0
    assert stand_in.files_installed()[-1] == name
    assert stand_in.set_up() != 0, "it must not be taken for done"

    stand_in.fails_on("import detectron2")
    assert stand_in.set_up() == 0
    assert stand_in.files_installed() == INSTALLED


def test_a_second_set_up_asks_pip_for_nothing_and_another_choice_does(stand_in):
    stand_in.set_up()
    assert stand_in.set_up() == 0
    assert not stand_in.installs()
    assert stand_in.set_up("--torch=torch") == 0
    assert stand_in.installs()


def test_a_package_that_an_interrupted_pip_left_half_is_removed_and_not_trusted(stand_in):
    half, whole = (stand_in.site_packages / f"{name}-1.dist-info" for name in ("half", "whole"))
    for folder in (half, whole):
        folder.mkdir()
        (folder / "METADATA").touch()
    (whole / "RECORD").touch()
    assert stand_in.set_up() == 0
    assert whole.exists() and not half.exists()
