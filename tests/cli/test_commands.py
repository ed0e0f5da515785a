"""The command cffm: its table and its help."""

import importlib
import os
import re
import subprocess
import sys

import pytest
import warm_process
from fresh_process import ROOT

import cffm_command
from cffm_command import COMMANDS


def run(*arguments):
    command = [sys.executable, str(ROOT / "cffm_command.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_help_has_a_line_for_every_command_and_imports_no_torch():
    code = "import sys, cffm_command; cffm_command.main(['--help']); print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    *lines, torch_was_imported = result.stdout.splitlines()
    assert torch_was_imported == "False"
    for name, said in COMMANDS.items():
        assert any(line.split() == [name, *said.split()] for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("typed", "said"), [("evalute", "Did you mean evaluate"), ("xyzzy", "cffm --help lists all")]
)
def test_an_unknown_command_is_an_error_with_the_nearest(typed, said):
    result = run(typed, "--flag")
    assert result.returncode == 2
    assert f"There is no command {typed}" in result.stderr and said in result.stderr


def test_without_a_command_there_is_help_and_the_version_is_the_packages(capsys):
    assert cffm_command.main([]) == 0
    assert "usage: cffm COMMAND" in capsys.readouterr().out
    version = re.search(r'__version__ = "(.+)"', (ROOT / "cffm_plugin/__init__.py").read_text())[1]
    assert cffm_command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"cffm-plugin {version}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_under_its_own_name(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cffm", name, "--help"])
    with pytest.raises(SystemExit) as ended:
        cffm_command.main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: cffm {name} ")
    assert "python tools/" not in printed.replace("python tools/run_onnx_stream.py", "")


def test_the_page_for_starters_has_a_row_for_every_command():
    page = (ROOT / "GETTING_STARTED.md").read_text()
    for name in COMMANDS:
        rows = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert len(rows) == 1, name


def test_every_module_of_commands_is_in_the_table():
    modules = {file.stem.replace("_", "-") for file in (ROOT / "cffm_plugin/cli").glob("*.py")}
    assert modules - {"--init--", "frame", "prediction-arguments"} == set(COMMANDS)


def test_help_of_every_command_imports_nothing_that_takes_time():
    code = f"""
import sys, cffm_command
for name in {list(COMMANDS)!r}:
    try:
        cffm_command.main([name, "--help"])
    except SystemExit:
        pass
    found = {{"torch", "numpy", "PIL", "detectron2", "cv2", "timm"}} & set(sys.modules)
    if found:
        sys.exit(f"{{name}} imports {{sorted(found)}}")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert all(f"usage: cffm {name} " in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", ["train", "demo", "export", "benchmark"])
def test_overrides_come_last_with_or_without_the_word_opts(name):
    module = importlib.import_module(f"cffm_plugin.cli.{name}")
    before = {
        "demo": ["--webcam"],
        "export": ["--size", "8", "8", "--output", "out"],
        "benchmark": ["--config-file", "a"],
    }.get(name, ["--num-gpus", "2"])
    bare = [*before, "0"] if name == "demo" else before  # a camera's number ends its values
    for words in ([*before, "--opts", "A", "1"], [*bare, "A", "1"]):
        assert module.parse_args(words).opts == ["A", "1"]
    assert module.parse_args(before).opts == []


def test_a_command_returns_its_exit_code_and_its_name_is_what_programs_see(monkeypatch):
    seen = []
    module = importlib.import_module("cffm_plugin.cli.check")
    monkeypatch.setattr(module, "main", lambda argv: seen.append((argv, sys.argv)) or 3)
    monkeypatch.setattr(sys, "argv", ["/bin/cffm"])
    assert cffm_command.main(["check", "--dataset-root", "x"]) == 3
    assert seen == [(["--dataset-root", "x"], ["cffm check", "--dataset-root", "x"])]


@pytest.mark.parametrize("command", ["score", "report"])
def test_commands_know_the_builtin_datasets_by_name(command, tmp_path):
    """In a process of its own, in which nothing else has imported them."""
    more = ["--output", "out"] if command == "report" else []
    words = [command, "--dataset", "synthetic_vspw_val", "--predictions", "a=.", *more]
    environment = os.environ | {"DETECTRON2_DATASETS": str(tmp_path)}
    result = warm_process.run(["-m", "cffm_command", *words], cwd=tmp_path, env=environment)
    assert result.returncode == 1
    assert "Make it with cffm synthetic" in result.stderr, result.stderr
