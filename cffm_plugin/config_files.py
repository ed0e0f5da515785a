"""Reading config files with their ``_BASE_``, without running anything that they say.

detectron2's own reading goes over to unsafe YAML where a file has a tag of Python's, which runs
what the tag names. One such tag is understood here, without running it: the list of training sizes
that MaskFormer's descendants write.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from . import needs_detectron2  # noqa: F401  (says how to get it)

# isort: split
from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager

from .errors import not_yaml

_BASE = "_BASE_"


_EVAL = "tag:yaml.org,2002:python/object/apply:eval"
_NUMBER, _WHOLE = r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})", r"(\d{1,4})"
_SIZES = re.compile(
    rf"\[ *int\((?P<x>[A-Za-z_]\w*) *\* *{_NUMBER} *\* *{_NUMBER}\) "
    rf"for (?P=x) in range\({_WHOLE}, *{_WHOLE}\) *\]",
    re.ASCII,
)


class _PlainLoader(yaml.SafeLoader):
    """Plain YAML, the tag for tuples, and MaskFormer's way to write a list of sizes."""


def _sizes(loader: _PlainLoader, node: Any) -> list[int]:
    """``["[int(x * 0.1 * 640) for x in range(5, 21)]"]``: the list that it means, by its numbers.

    This form alone is understood. Nothing is run.
    """
    texts = loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else []
    found = _SIZES.fullmatch(texts[0]) if len(texts) == 1 and isinstance(texts[0], str) else None
    if found is None:
        raise yaml.constructor.ConstructorError(
            problem="of Python's expressions [int(x * 0.1 * 640) for x in range(5, 21)] alone, "
            f"with its numbers, is understood; got python/object/apply:eval {str(texts)[:200]}",
            problem_mark=node.start_mark,
        )
    first, second = (float(n) if "." in n else int(n) for n in found.groups()[1:3])
    return [int(x * first * second) for x in range(int(found[4]), int(found[5]))]


_PlainLoader.add_constructor(_EVAL, _sizes)
_PlainLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple", lambda loader, node: tuple(loader.construct_sequence(node))
)


def read_safely(cfg: CfgNode) -> None:
    """From now on ``cfg.merge_from_file`` reads files as ``load_yaml_with_base`` does here."""
    # Of this object, not of its class, since detectron2 compares the classes of what it merges.
    object.__setattr__(cfg, "load_yaml_with_base", load_yaml_with_base)


def load_yaml_with_base(filename: str, allow_unsafe: bool = False) -> dict[str, Any]:
    """The keys of a config file over those of its bases, as detectron2's method of this name.

    Args:
        filename: a YAML file.
        allow_unsafe: for detectron2's signature; nothing is ever read unsafely.

    Raises:
        FileNotFoundError, ValueError: see ``files_of_config``.
    """
    return _merged(files_of_config(filename))


@contextmanager
def files_at_hand(cfg: CfgNode, files: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[None]:
    """Meanwhile ``cfg.merge_from_file`` merges these, of ``files_of_config``, and opens none."""
    object.__setattr__(cfg, "load_yaml_with_base", lambda *_, **__: _merged(files))
    try:
        yield
    finally:
        read_safely(cfg)


def _merged(files: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for file, content in files:
        _merge(content, merged, file)
    return merged


def files_of_config(file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every file that a config consists of, with its own keys: bases before what is based on them.

    Raises:
        FileNotFoundError: a base file is missing.
        ValueError: a file is not plain YAML, with its line; a base is on the network, or is based
            on itself.
    """
    yield from _files_of(file, ())


def _files_of(file: str, based_on_it: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    content = _read(file)
    bases = content.pop(_BASE, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, (list, tuple)) or not all(isinstance(base, str) for base in bases):
        raise ValueError(f"{file}: {_BASE}: expected a file, or a list of files; got {bases!r}")
    for base in bases:
        path = os.path.join(os.path.dirname(file), os.path.expanduser(base))
        if "://" in base or "://" in path:
            raise ValueError(
                f"{file}: {_BASE} is {path}, on the network, where it may change from one run to "
                "the next. Download both files, and name the copy."
            )
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{file}: there is no file {path}, which is its {_BASE}")
        if os.path.realpath(path) in map(os.path.realpath, (file, *based_on_it)):
            raise ValueError(f"{file}: its {_BASE} {path} is itself based on this file")
        yield from _files_of(path, (file, *based_on_it))
    yield file, content


def _read(file: str) -> dict[str, Any]:
    try:
        with open(PathManager.get_local_path(file), encoding="utf-8") as opened:
            content = yaml.load(opened, _PlainLoader)
    except yaml.constructor.ConstructorError as error:
        raise ValueError(
            f"{file}{_line_of(error)}: {error.problem}. Config files are plain YAML here: tags "
            "that make objects of Python or run code are refused. Write the value itself, such as "
            "MIN_SIZE_TRAIN: [320, 384, 448]."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file}: {not_yaml(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{file}: expected config keys, such as MODEL, and their values")
    return content


def _line_of(error: yaml.MarkedYAMLError) -> str:
    return f", line {error.problem_mark.line + 1}" if error.problem_mark else ""


def _merge(over: dict[str, Any], under: dict[str, Any], file: str, prefix: str = "") -> None:
    """Put ``over`` into ``under``, in place, nested keys one by one."""
    for key, value in over.items():
        if isinstance(value, dict) and key in under:
            if not isinstance(under[key], dict):
                raise ValueError(
                    f"{file}: {prefix}{key} holds keys here, and a value in its {_BASE}"
                )
            _merge(value, under[key], file, f"{prefix}{key}.")
        else:
            under[key] = value
