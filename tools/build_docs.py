#!/usr/bin/env python3
"""Builds the documentation site: the pages of the repository, and a reference made from the code.

    python tools/build_docs.py --output output/site

Pages stand in the site as in the repository, so that a link works in both; one to a file that is no
page leads to --repository, or is text. The reference has every config key (from config.py), every
command's --help and every public name (from the docstrings). A broken link is an error. To read and
search the site: python -m http.server --directory output/site
"""

import argparse
import ast
import importlib
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/*.md", "datasets/*.md", "projects/*.md", "projects/*/README.md")
PICTURES = (".png", ".jpg", ".gif", ".webp", ".mp4")
LINK = re.compile(r"(?P<start>!?\[(?P<text>[^\]\[]*)\]\()(?P<target>[^)\s]+)\)")


@dataclass
class Key:
    """A config key: its full name, its default as the source has it, and what is said of it."""

    name: str
    default: str
    comment: str


@dataclass
class Section:
    """The keys of one node."""

    name: str
    comment: str = ""
    keys: list[Key] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "site")
    parser.add_argument("--repository", default="", metavar="URL", help="of the files, browsable")
    args = parser.parse_args()
    staged = ROOT / "build" / "docs"  # mkdocs.yml names it
    shutil.rmtree(staged, ignore_errors=True)
    copy_pages(staged, args.repository)
    write(staged / "reference" / "config.md", config_reference())
    write(staged / "reference" / "commands.md", command_reference())
    for name in packages():
        write(staged / "reference" / f"{name}.md", api_reference(name))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "--quiet"]
    command += ["--config-file", "mkdocs.yml", "--site-dir", str(args.output.resolve())]
    # mkdocs-material speaks of its own plans at every start.
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    if subprocess.run(command, cwd=ROOT, env=environment).returncode:
        sys.exit("The site was not built: mkdocs says above why.")
    print(f"{args.output / 'index.html'}")
    print(f"To read and search it: {sys.executable} -m http.server --directory {args.output}")


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def copy_pages(staged: Path, repository: str) -> None:
    pages = sorted({page for pattern in PAGES for page in ROOT.glob(pattern)})
    for page in pages:
        text = page.read_text(encoding="utf-8")
        place = page.relative_to(ROOT)
        write(staged / place, LINK.sub(lambda m, p=page: link(m, p, pages, repository), text))
    for picture in (ROOT / "docs").rglob("*"):
        if picture.suffix in PICTURES:
            place = staged / picture.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, place)


def link(match: re.Match[str], page: Path, pages: list[Path], repository: str) -> str:
    """A link of a page as the site has it. Raises SystemExit: there is no such file."""
    target = match["target"]
    if re.match(r"[a-z]+:|#", target):
        return match[0]
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve()
    if not file.exists():
        sys.exit(f"{page.relative_to(ROOT)}: the link to {target} leads nowhere")
    if file.suffix in PICTURES or file in pages:
        return match[0]
    if file.is_dir() and file / "README.md" in pages:
        return f"{match['start']}{path.rstrip('/')}/README.md{'#' if anchor else ''}{anchor})"
    if repository:
        return f"{match['start']}{repository.rstrip('/')}/{file.relative_to(ROOT)})"
    return match["text"]


def config_reference() -> str:
    """Every key that config.py adds, with its default and the comment above it."""
    parts = [
        "# Config keys\n\nWhat `add_cffm_config` adds to the keys of Detectron2 and of its DeepLab "
        "project. Each is set in a YAML file, or behind any command as `KEY VALUE`.\n"
    ]
    for section in config_sections((ROOT / "cffm_plugin" / "config.py").read_text("utf-8")):
        parts.append(f"\n## {section.name}\n\n{section.comment}\n")
        for key in section.keys:
            parts.append(f"\n### `{key.name}`\n\nDefault: `{key.default}`\n\n{key.comment}\n")
    return "".join(parts)


def config_sections(source: str) -> list[Section]:
    """The nodes and keys that functions called ``_add_*_keys`` set, in order.

    What is said of a key is the comment above it; a key without a comment of its own shares that
    of the key or node above.
    """
    sections: dict[str, Section] = {}
    for function in ast.parse(source).body:
        if not isinstance(function, ast.FunctionDef) or not re.match("_add_.*_keys", function.name):
            continue
        comments = dict(comment_lines(source))
        said = ""
        for statement in function.body:
            if not isinstance(statement, ast.Assign):
                continue
            name = ast.unparse(statement.targets[0]).removeprefix("cfg.")
            said = comment_above(statement.lineno, comments) or said
            if ast.unparse(statement.value) == "CfgNode()":
                sections[name] = Section(name, said)
                continue
            node = name.rpartition(".")[0]
            default = ast.unparse(statement.value)
            sections.setdefault(node, Section(node)).keys.append(Key(name, default, said))
    return list(sections.values())


def comment_lines(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.line.strip().startswith("#"):
            yield token.start[0], token.string.lstrip("# ")


def comment_above(line: int, comments: dict[int, str]) -> str:
    found: list[str] = []
    while line - 1 in comments:
        line -= 1
        found.insert(0, comments[line])
    return " ".join(found)


def command_reference() -> str:
    """What every tool says of itself with --help."""
    environment = os.environ | {"COLUMNS": "100"}
    parts = ["# Commands\n\nWhat `python tools/NAME.py --help` prints.\n"]
    tools = sorted((ROOT / "tools").glob("*.py"))
    for tool in tools:
        command = [sys.executable, str(tool), "--help"]
        said = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        parts.append(f"\n## tools/{tool.name}\n\n```text\n{said.stdout.strip()}\n```\n")
    return "".join(parts)


def packages() -> list[str]:
    """The package, and those in it that have public names."""
    found = ["cffm_plugin"]
    for init in sorted((ROOT / "cffm_plugin").glob("*/__init__.py")):
        name = f"cffm_plugin.{init.parent.name}"
        if getattr(importlib.import_module(name), "__all__", []):
            found.append(name)
    return found


def api_reference(name: str) -> str:
    """The public names of a package, each with its docstring."""
    package = importlib.import_module(name)
    parts = [f"# {name}\n\n{package.__doc__}\n"]
    for public in sorted(package.__all__):
        value = getattr(package, public)
        if inspect.isclass(value) or inspect.isroutine(value):
            parts.append(f"\n::: {value.__module__}.{value.__qualname__}\n")
        else:
            parts.append(f"\n## `{public}` {{ #{name}.{public} }}\n\n{constant(value)}\n")
    return "".join(parts)


def constant(value: object) -> str:
    text = repr(value)
    return f"`{text}`" if len(text) < 200 else f"A constant: `{type(value).__name__}`."


if __name__ == "__main__":
    main()
