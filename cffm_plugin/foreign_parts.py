"""Parts of other projects: modules that a config names, imported before its keys are merged.

MODEL.IMPORTS names modules that register parts when they are imported, MODEL.CONFIG_ADDERS
functions that add a project's keys. Both stand in the same YAML as the keys that they bring, so
they are read on their own first. What is imported is what the person's config file or command line
names, and nothing else.
"""

import difflib
import hashlib
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from . import needs_detectron2  # noqa: F401  (says how to get it)

# isort: split
from detectron2.config import CfgNode

from .config_files import files_of_config

IMPORTS, ADDERS = "MODEL.IMPORTS", "MODEL.CONFIG_ADDERS"
_HOW_TO_WRITE = {
    IMPORTS: '"package.module", or "path/to/file.py"',
    ADDERS: '"package.module:function", or "path/to/file.py:function"',
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Named:
    """An entry of one of the two lists.

    Attributes:
        key: the list's key.
        entry: as it is written.
        source: the file that it stands in, or "the command line".
        folder: what a file's path is relative to.
    """

    key: str
    entry: str
    source: str
    folder: str

    def error(self, reason: str, advice: str) -> ValueError:
        return ValueError(f'{self.source}: {self.key}: "{self.entry}": {reason}. {advice}')


def add_foreign_parts(cfg: CfgNode, config_file: str, overrides: Sequence[Any]) -> dict[str, Any]:
    """Import what a config file and overrides name, and let the named functions add their keys.

    The lists of base files, of the file and of the overrides add up. A function that has added its
    keys to ``cfg`` before is not called again.

    Args:
        cfg: with the keys of this package. Changed in place by the functions.
        config_file: a YAML file, or "".
        overrides: a flat sequence ``["KEY", "VALUE", ...]``.

    Returns:
        MODEL.IMPORTS and MODEL.CONFIG_ADDERS -> all entries in order, files by absolute paths.

    Raises:
        FileNotFoundError: a base file is missing.
        ValueError: the file is not plain YAML, or a part can't be imported, or its function fails.
    """
    named = list(_named_in_file(config_file)) if config_file else []
    for key, value in zip(overrides[::2], overrides[1::2]):
        if key in _HOW_TO_WRITE:
            named += _entries(key, value, "the command line", os.getcwd())
    resolved = {key: list(cfg.MODEL[key.removeprefix("MODEL.")]) for key in _HOW_TO_WRITE}
    for part in named:
        name, _, function = (
            part.entry.rpartition(":") if part.key == ADDERS else (part.entry, "", "")
        )
        entry = name = _absolute(part, name)
        if part.key == ADDERS:
            entry = f"{name}:{function}"
        if entry in resolved[part.key]:
            continue
        module = _import(part, name)
        if part.key == ADDERS:
            _call(part, module, function, cfg)
        resolved[part.key].append(entry)
    return resolved


def log_foreign_parts(cfg: CfgNode) -> None:
    """A line of the log for every module and function that the config has brought in."""
    for entry in cfg.MODEL.IMPORTS:
        logger.info("%s: imported %s", IMPORTS, entry)
    for entry in cfg.MODEL.CONFIG_ADDERS:
        logger.info("%s: keys were added by %s", ADDERS, entry)


def _named_in_file(file: str) -> Iterator[_Named]:
    """The entries of a config file's bases, then its own."""
    for source, content in files_of_config(file):
        model = content.get("MODEL")
        if isinstance(model, dict):
            for key in _HOW_TO_WRITE:
                value = model.get(key.removeprefix("MODEL."))
                yield from _entries(key, value, source, os.path.dirname(source))


def _entries(key: str, value: Any, source: str, folder: str) -> list[_Named]:
    """From a raw value, which may be a list, one entry, or a list or tuple as Python writes it."""
    entries = list_of_texts(CfgNode._decode_cfg_value(value))
    if entries is None:
        raise ValueError(f"{source}: {key}: expected a list of {_HOW_TO_WRITE[key]}; got {value!r}")
    return [_Named(key, entry, source, folder) for entry in entries]


def list_of_texts(value: Any) -> list[str] | None:
    """A list of strings from one, from a single string or from None; None where it is neither."""
    if value is None:
        return []
    if isinstance(value, str):
        is_list_gone_wrong = value.lstrip().startswith(("(", "["))
        return None if is_list_gone_wrong else [value] if value else []
    if isinstance(value, (list, tuple)) and all(isinstance(entry, str) for entry in value):
        return list(value)
    return None


def _absolute(part: _Named, name: str) -> str:
    """A file by its absolute path, and a module as it is."""
    if not name:
        raise part.error("this is not a name", f"Write {_HOW_TO_WRITE[part.key]}.")
    if not name.endswith(".py"):
        return name
    name = os.path.expanduser(name)
    if "://" in part.folder and not os.path.isabs(name):
        raise part.error(
            "a config that is read from the network can't name files beside it",
            "Name a module that is installed, or the absolute path of a file.",
        )
    return os.path.abspath(os.path.join(part.folder, name))


def _import(part: _Named, name: str) -> ModuleType:
    is_file = name.endswith(".py")
    if is_file and not os.path.isfile(name):
        place = "the folder of the config file"
        if part.source == "the command line":
            place = "the folder that the command runs in"
        raise part.error(
            f"there is no file {name}", f"A relative path is relative to {place}; correct it."
        )
    try:
        return _import_file(name) if is_file else importlib.import_module(name)
    except (Exception, SystemExit) as error:
        reason = f"it can't be imported ({type(error).__name__}: {error})"
        raise part.error(reason, _advice(name, error)) from error


def _advice(name: str, error: BaseException) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and (name == missing or name.startswith(f"{missing}.")):
        return (
            "Install it, or add the folder that holds it to PYTHONPATH, or name its file, such as "
            '"path/to/file.py".'
        )
    if missing:
        return f"Install {missing}, or add the folder that holds it to PYTHONPATH."
    if "relative import" in str(error):
        return (
            'It is part of a package: name it as a module, "package.module", with the folder that '
            "holds the package on PYTHONPATH."
        )
    return "Correct it so that it can be imported."


def _import_file(file: str) -> ModuleType:
    """The module of a file, imported once: what it registers can't be registered again."""
    real = os.path.realpath(file)
    for module in list(sys.modules.values()):
        known = getattr(module, "__dict__", {}).get("__file__")
        if (
            isinstance(known, str)
            and os.path.basename(known) in (os.path.basename(file), os.path.basename(real))
            and os.path.realpath(known) == real
        ):
            return module
    stem = os.path.splitext(os.path.basename(file))[0]
    name = f"{stem}_{hashlib.sha256(real.encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # a .py file has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _call(part: _Named, module: ModuleType, function: str, cfg: CfgNode) -> None:
    adder = getattr(module, function, None)
    if not callable(adder):
        names = [name for name, value in vars(module).items() if callable(value)]
        near = difflib.get_close_matches(function, names, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "Correct the name."
        raise part.error(f"there is no function {function}", hint)
    try:
        adder(cfg)
    except Exception as error:
        reason = f"it failed when called with the config ({type(error).__name__}: {error})"
        raise part.error(reason, "It must take a CfgNode and add keys to it.") from error
