"""Libraries that only parts of this package need: imported by what uses them, when it is used."""

import functools
import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

# Importable name -> name for pip, where they differ.
_PIP_NAMES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}

# What this package imports of detectron2 when it is imported itself.
_DETECTRON2_AT_START = (
    "detectron2.config",
    "detectron2.data",
    "detectron2.evaluation",
    "detectron2.modeling",
    "detectron2.projects.deeplab",
)
_GET_DETECTRON2 = (
    "detectron2, which is not installed. In a clone of this project, `make setup` installs it. "
    "Elsewhere: pip install --no-build-isolation "
    "'git+https://github.com/facebookresearch/detectron2.git' (INSTALL.md shows another way that "
    "needs only PyPI)."
)


def import_part(package: str, name: str, where: Mapping[str, str]) -> Any:
    """What a package's ``__getattr__`` gives, so that it imports a part when it is asked for it.

    Args:
        package: its ``__name__``.
        name: of the attribute.
        where: attribute -> the module of the package that holds it; "" for a module itself.

    Raises:
        AttributeError: there is no such part.
        ImportError: it needs a library that is not installed.
    """
    if name not in where:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    if not where[name]:
        return importlib.import_module(f"{package}.{name}")
    return getattr(importlib.import_module(f"{package}.{where[name]}"), name)


def import_library(name: str, needed_by: str) -> ModuleType:
    """Import a library, or say what needs it and how to install it.

    Args:
        name: as in an import statement, such as "sklearn.cluster".
        needed_by: the start of a sentence, such as "Making prototypes".

    Raises:
        ModuleNotFoundError: the library is not installed, or another one that it needs.
    """
    if name.split(".")[0] == "detectron2":
        check_detectron2()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        message = what_is_missing(name, error)
        if message is None:
            raise
        raise ModuleNotFoundError(f"{needed_by} needs {message}", name=error.name) from error


def what_is_missing(name: str, error: ModuleNotFoundError) -> str | None:
    """What importing the library ``name`` did not find, and the command that installs it.

    None where a part of an installed library is missing, which no installing cures.
    """
    library = name.split(".")[0]
    missing = (error.name or "").split(".")[0]
    if not missing or (missing == library and error.name != library):
        return None
    needs = "" if missing == library else f"{library}, and {library} needs "
    return (
        f"{needs}{missing}, which is not installed: pip install {_PIP_NAMES.get(missing, missing)}"
    )


class OptionalLibrary:
    """Stands for a library in a module, and imports it when something of it is first used.

    ``cv2 = OptionalLibrary("cv2", "Resizing images")`` takes the place of ``import cv2``.

    Args:
        name, needed_by: see ``import_library``, which says what using it raises.
    """

    def __init__(self, name: str, needed_by: str):
        self._name = name
        self._needed_by = needed_by

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_library(self._name, self._needed_by), attribute)


# detectron2's registries of datasets: catalogs.DatasetCatalog, catalogs.MetadataCatalog.
catalogs = OptionalLibrary("detectron2.data", "A registered dataset")


def has_detectron2() -> bool:
    """Whether it can be imported. Imports it."""
    return _error_of_detectron2() is None


def check_detectron2() -> None:
    """
    Raises:
        ImportError: detectron2 is not installed, or lacks a library, or can't be imported for
            another reason. The error says which, and what to install.
    """
    error = _error_of_detectron2()
    if error is None:
        return
    name = error.name if isinstance(error, ImportError) else None
    message = None
    if name == "detectron2":
        message = _GET_DETECTRON2
    elif isinstance(error, ModuleNotFoundError):
        message = what_is_missing("detectron2", error)
    if message is None:
        message = f"detectron2, which can't be imported ({type(error).__name__}: {error})"
    raise ImportError(f"This part of cffm_plugin needs {message}", name=name) from error


@functools.cache  # what has failed halfway can't be imported again
def _error_of_detectron2() -> Exception | None:
    try:
        for name in _DETECTRON2_AT_START:
            importlib.import_module(name)
    except Exception as error:  # such as RuntimeError of a torchvision for another torch
        return error
    return None
