"""The command cffm: its table, its help, and that tools/ are the same commands."""

import ast
import importlib
import re
import subprocess
import sys

import pytest
from fresh_process import ROOT

import cffm_command
from cffm_command import COMMANDS

OF_THE_REPOSITORY = {
    "build_docs",
    "list_licences",
    "lock_requirements",
    "run_onnx_stream",
    "setup_environment",
}


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
    for name, (_, _, said) in COMMANDS.items():
        assert any(line.split() == [name, *said.split()] for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("evalute", "Did you mean evaluate"),
        ("convert_checkpoint", "that script is: cffm convert"),
        ("tools/train_net.py", "that script is: cffm train"),
        ("xyzzy", "cffm --help lists all"),
    ],
)
def test_an_unknown_command_is_an_error_with_the_nearest(typed, said):
    result = run(typed, "--flag")
    assert result.returncode == 2
    assert f"There is no command {typed}" in result.stderr and said in result.stderr


def test_without_a_command_there_is_help(capsys):
    assert cffm_command.main([]) == 0
    assert "usage: cffm COMMAND" in capsys.readouterr().out


def test_the_version_is_the_packages(capsys):
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


def test_every_script_is_the_command_that_the_table_says_and_nothing_more():
    scripts = {script: module for module, script, _ in COMMANDS.values() if script}
    in_tools = {file.stem for file in (ROOT / "tools").glob("*.py")}
    assert in_tools - OF_THE_REPOSITORY <= set(scripts)
    for script in scripts.keys() & in_tools:
        tree = ast.parse((ROOT / "tools" / f"{script}.py").read_text())
        imported = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        assert [node.module for node in imported] == [scripts[script]]
        assert len(tree.body) == 4  # docstring, sys, main, the call


def test_the_page_for_starters_has_a_row_for_every_command_and_names_its_script():
    page = (ROOT / "GETTING_STARTED.md").read_text()
    for name, (_, script, _) in COMMANDS.items():
        rows = [line for line in page.splitlines() if line.startswith("| ") and f"`{name}`" in line]
        assert len(rows) == 1, name
        assert not script or f"tools/{script}" in rows[0]


def test_every_module_of_commands_is_in_the_table():
    modules = {f"cffm_plugin.cli.{file.stem}" for file in (ROOT / "cffm_plugin/cli").glob("*.py")}
    modules.discard("cffm_plugin.cli.__init__")
    assert modules <= {module for module, _, _ in COMMANDS.values()}


def test_a_command_returns_its_exit_code_and_its_name_is_what_programs_see(monkeypatch):
    seen = []
    module = importlib.import_module("cffm_plugin.cli.check")
    monkeypatch.setattr(module, "main", lambda argv: seen.append((argv, sys.argv)) or 3)
    monkeypatch.setattr(sys, "argv", ["/bin/cffm"])
    assert cffm_command.main(["check", "--root", "x"]) == 3
    assert seen == [(["--root", "x"], ["cffm check", "--root", "x"])]
