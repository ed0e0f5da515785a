"""The config files that this package ships, by name: "vspw/cffm_mit_b1" from every folder.

A wheel has them inside the package; in a checkout they are the folder configs/ at its top.
"""

import difflib
import os
from pathlib import Path

from . import needs_detectron2  # noqa: F401  (says how to get it)

# isort: split
from detectron2.utils.file_io import PathManager

_SUFFIX = ".yaml"
_FOLDER = "configs"  # may stand before a name, as in a checkout's paths
_BASE = "Base-"  # what such files hold is no model yet


def configs_folder() -> Path:
    """Where the config files are.

    Raises:
        FileNotFoundError: the installation lacks them.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / _FOLDER, package.parent / _FOLDER):
        if any(folder.glob(f"*/*{_SUFFIX}")):
            return folder
    raise FileNotFoundError(
        f"{package / _FOLDER}: the config files of this package are not there, nor beside it in a "
        "checkout. Install it again."
    )


def list_configs() -> list[str]:
    """The names of all configs of models, such as "vspw/cffm_mit_b1", sorted."""
    return [name for name in _names() if not name.rpartition("/")[2].startswith(_BASE)]


def get_config_file(name: str) -> str:
    """The path of a config file that this package ships.

    Args:
        name: such as "vspw/cffm_mit_b1", with or without ".yaml", with or without "configs/".

    Raises:
        FileNotFoundError: there is none of that name. The error has the nearest names.
    """
    plain = _plain(name)
    if plain in _names():
        return str(configs_folder() / f"{plain}{_SUFFIX}")
    raise FileNotFoundError(f"There is no config named {name}. {_nearest(plain)}")


def find_config_file(path_or_name: str) -> str:
    """A config file by its path; where there is no such file, by its name (``get_config_file``).

    Raises:
        FileNotFoundError: there is neither a file nor a name. The error has the nearest names.
        ValueError: it is on the Hugging Face hub.
    """
    if path_or_name.startswith("hf://"):
        raise ValueError(
            f"{path_or_name}: a config file can name code, so none is read from the hub. Leave "
            "--config-file out where the command can do without: the checkpoint of MODEL.WEIGHTS "
            "carries its config, and what that names of code is left out. Or download the file, "
            "look at MODEL.IMPORTS and MODEL.CONFIG_ADDERS, and name the copy."
        )
    if PathManager.isfile(path_or_name):
        return path_or_name
    plain = _plain(path_or_name)
    if plain in _names():
        return get_config_file(plain)
    raise FileNotFoundError(
        f"There is no config file {path_or_name}, and this package ships none of that name. "
        f"{_nearest(plain)}"
    )


def _names() -> list[str]:
    folder = configs_folder()
    files = folder.glob(f"*/*{_SUFFIX}")
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in files)


def _plain(name: str) -> str:
    plain = name.replace(os.sep, "/").removeprefix("./")
    return plain.removeprefix(f"{_FOLDER}/").removesuffix(_SUFFIX)


def _nearest(plain: str) -> str:
    names = list_configs()
    near = difflib.get_close_matches(plain, names, n=3, cutoff=0.5)
    if not near:  # the folder may be what is missing
        last = plain.rpartition("/")[2]
        names_by_end = {name.rpartition("/")[2]: name for name in names}
        near = [names_by_end[n] for n in difflib.get_close_matches(last, list(names_by_end), n=3)]
    if near:
        return f"Nearest names: {', '.join(near)}."
    return "cffm_plugin.model_zoo.list_configs() has all names, such as vspw/cffm_mit_b1."
