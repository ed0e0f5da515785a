"""What surrounds the code: continuous integration, forms, hooks, citation, container."""

import re
import shlex
import subprocess

import pytest
import yaml
from fresh_process import ROOT
from locked_requirements import locked_versions
from packaging.specifiers import SpecifierSet

YAML_FILES = [
    *sorted((ROOT / ".github").rglob("*.yml")),
    *(ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"),
]


def read(path):
    return yaml.safe_load((ROOT / path).read_text())


def make_targets():
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))


def version():
    return re.search(r'__version__ = "(.+)"', (ROOT / "cffm_plugin/__init__.py").read_text())[1]


@pytest.fixture(scope="module")
def jobs():
    return read(".github/workflows/ci.yml")["jobs"]


def commands(job):
    return [shlex.split(step["run"]) for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("file", YAML_FILES, ids=lambda file: file.name)
def test_every_yaml_file_of_the_repository_is_plain_yaml(file):
    assert yaml.safe_load(file.read_text())


def test_ci_lints_tests_and_builds_with_commands_of_the_makefile_and_no_rights(jobs):
    called = {name: {c[1] for c in commands(job) if c[0] == "make"} for name, job in jobs.items()}
    assert called["lint"] == {"lint"} and called["build"] == {"build"}
    assert "test" in called["test"]
    assert set.union(*called.values()) <= make_targets()
    assert read(".github/workflows/ci.yml")["permissions"] == {"contents": "read"}


def test_ci_tests_every_python_from_the_oldest_that_is_locked_and_promised(jobs):
    tested = jobs["test"]["strategy"]["matrix"]["python"]
    assert tested == ["3.11", "3.12", "3.13"]
    promised = SpecifierSet(
        re.search(r'python_requires="(.+)"', (ROOT / "setup.py").read_text())[1]
    )
    assert all(promised.contains(each) for each in tested)
    assert not promised.contains("3.10")
    oldest = re.search(r"OLDEST_PYTHON = \((\d+), (\d+)\)", read_text("tools/setup_environment.py"))
    assert ".".join(oldest.groups()) == tested[0]
    assert f"--python-version {tested[0]} " in read_text("tools/lock_requirements.py")
    for name in ("lint", "build"):
        (setup,) = (s for s in jobs[name]["steps"] if "setup-python" in s.get("uses", ""))
        assert setup["with"]["python-version"] == tested[0]


def read_text(path):
    return (ROOT / path).read_text()


def test_hooks_run_the_locked_versions():
    ruff, mypy = read(".pre-commit-config.yaml")["repos"]
    assert ruff["repo"].endswith("/ruff-pre-commit")
    assert ruff["rev"] == f"v{locked_versions()['ruff']}"
    (hook,) = mypy["hooks"]
    assert hook["entry"] == ".venv/bin/mypy" and hook["language"] == "system"
    assert "mypy" in locked_versions()


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = read("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type"} <= set(citation)
    assert citation["version"] == version()
    assert citation["license"] in read_text("setup.py")
    (paper,) = citation["references"]
    assert paper["type"] == "conference-paper" and paper["year"] == 2022
    assert paper["title"] in read_text("README.md")
    names = [f"{a['family-names']}, {a['given-names']}" for a in paper["authors"]]
    assert f"{{{' and '.join(names)}}}" in read_text("README.md")


def test_make_alone_lists_every_target_and_the_container_makes_some():
    listed = subprocess.run(["make"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert set(re.findall(r"^  make ([a-z]+) +\S", listed, re.M)) == make_targets()
    phony = re.search(r"\.PHONY: (.+)", read_text("Makefile"))[1].split()
    assert set(phony) == make_targets()
    text = read_text("Dockerfile").replace("\\\n", " ")
    assert set(re.findall(r"\bmake ([a-z]+)", text)) == {"setup", "quickstart", "test"}
    kept_out = read_text(".dockerignore").split()
    assert {".git", ".venv", "output", "datasets/*"} <= set(kept_out)


def test_the_manifest_names_what_there_is():
    for line in read_text("MANIFEST.in").splitlines():
        command, *names = line.split() if line else [""]
        if command in ("graft", "include"):
            for name in names:
                assert list(ROOT.glob(name)), line
