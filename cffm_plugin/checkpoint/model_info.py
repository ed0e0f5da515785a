"""What a checkpoint says of its model besides the weights: classes, normalisation, config.

It stands in the file under one key, in plain containers, numbers and texts, so that
``torch.load(weights_only=True)`` reads it; in a .safetensors file as JSON among its metadata.
Nothing that it names is ever imported or run.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager

import cffm_plugin

from ..modeling.normalization import Normalization

INFO_KEY = "cffm_plugin"
_LONGEST_HEADER = 100_000_000  # bytes: what safetensors takes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelInfo:
    """What a model is; what is not known is empty.

    Attributes:
        class_names: K names, in the order of the logits.
        class_colors: (R, G, B) of every class, 0..255.
        pixel_mean, pixel_std: per channel, in the order of ``image_format``, in units of 0..255.
        image_format: "RGB" or "BGR".
        config: the text of a YAML file.
        version: of this package, when it was written.
    """

    class_names: tuple[str, ...] = ()
    class_colors: tuple[tuple[int, ...], ...] = ()
    pixel_mean: tuple[float, ...] = ()
    pixel_std: tuple[float, ...] = ()
    image_format: str = ""
    config: str = ""
    version: str = ""

    @classmethod
    def from_config(
        cls,
        cfg: CfgNode,
        class_names: Sequence[str] = (),
        class_colors: Sequence[Sequence[int]] = (),
    ) -> "ModelInfo":
        """What a config says, and names and colours of the dataset's."""
        return cls(
            class_names=tuple(map(str, class_names)),
            class_colors=tuple(tuple(map(int, color)) for color in class_colors),
            pixel_mean=tuple(map(float, cfg.MODEL.PIXEL_MEAN)),
            pixel_std=tuple(map(float, cfg.MODEL.PIXEL_STD)),
            image_format=cfg.INPUT.FORMAT,
            config=cfg.dump(),
            version=cffm_plugin.__version__,
        )

    @classmethod
    def from_dict(cls, stored: Any) -> "ModelInfo":
        """From what a file holds, which may be anything: what does not fit is left out."""
        if not isinstance(stored, Mapping):
            return cls()
        known = {name: read(stored.get(name)) for name, read in _READERS.items()}
        return cls(**{name: value for name, value in known.items() if value})

    def as_dict(self) -> dict[str, Any]:
        """In lists, numbers and texts, to be written."""
        return {key: _as_lists(value) for key, value in asdict(self).items()}

    def as_metadata(self) -> dict[str, str]:
        """For the header of a safetensors file, from which ``read_model_info`` reads it."""
        return {INFO_KEY: json.dumps(self.as_dict())}

    @property
    def normalization(self) -> Normalization | None:
        """How images are normalised; None where that is not known."""
        if not (self.pixel_mean and self.pixel_std and self.image_format):
            return None
        mean, std = (tuple(round(v, 4) for v in s) for s in (self.pixel_mean, self.pixel_std))
        return Normalization(mean, std, self.image_format)


def read_model_info(path: str | Path) -> ModelInfo | None:
    """What a checkpoint says of its model; None for files that say nothing.

    No weights are read: a config may be in there, without which there is no model that could take
    them. A file is opened once, for as long as it stays as it is.

    Args:
        path: as in MODEL.WEIGHTS.

    Raises:
        FileNotFoundError: there is no such file.
        HubFileError: there is none on the Hugging Face hub (hf://), or it can't be reached.
    """
    local = PathManager.get_local_path(urlparse(str(path))._replace(query="").geturl())
    if not Path(local).is_file():
        raise no_checkpoint(path)
    state = os.stat(local)
    return _read_info(local, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=32)
def _read_info(local: str, *state_of_the_file: int) -> ModelInfo | None:
    if local.endswith(".safetensors"):
        return _info_of_safetensors(local)
    try:  # torch's format of zip archives, which alone can be mapped; ours have always been in it
        loaded = torch.load(local, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # of all sorts, for files that are no checkpoints: loading them says so
        return None
    if not isinstance(loaded, Mapping) or INFO_KEY not in loaded:
        return None
    return ModelInfo.from_dict(loaded[INFO_KEY])


def _info_of_safetensors(file: str) -> ModelInfo | None:
    """What the header of a safetensors file says of its model, as JSON under ``INFO_KEY``; None for
    files that say nothing, or are none."""
    try:
        with open(file, "rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > _LONGEST_HEADER:
                return None
            stored = json.loads(opened.read(length))["__metadata__"][INFO_KEY]
        return ModelInfo.from_dict(json.loads(stored))
    except (KeyError, TypeError, ValueError, RecursionError):  # loading it says what is wrong
        return None


def warn_of_differences(path: str, stored: ModelInfo, ours: ModelInfo) -> None:
    """Log where a checkpoint's model is another than the one that it is loaded into.

    Args:
        path: of the checkpoint.
        stored: what it says.
        ours: what the config and its dataset say. Of another number of classes nothing is said:
            the weights' shapes tell that.
    """
    theirs, wanted = stored.normalization, ours.normalization
    if theirs is not None and wanted is not None and theirs != wanted:
        logger.warning(
            "%s was made with images normalised by %s, but the config says %s. Results will be "
            "worse than they could be: set MODEL.PIXEL_MEAN, MODEL.PIXEL_STD and INPUT.FORMAT to "
            "the checkpoint's (and MODEL.TIMM.OWN_NORMALIZATION False, for a backbone of timm).",
            path,
            theirs,
            wanted,
        )
    if len(stored.class_names) != len(ours.class_names):
        return
    pairs = enumerate(zip(stored.class_names, ours.class_names))
    different = [k for k, (a, b) in pairs if _plain(a) != _plain(b)]
    if different:
        k = different[0]
        logger.warning(
            "%s has other classes than the dataset, of the same number: class %d is %s in the "
            "checkpoint and %s in the dataset (%d of %d differ).",
            path,
            k,
            stored.class_names[k],
            ours.class_names[k],
            len(different),
            len(ours.class_names),
        )


def _plain(name: str) -> str:
    """A name without what spellings of one name differ in."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, tuple) else value


def _tuple_of(kinds: type | tuple[type, ...]) -> Callable[[Any], Any]:
    """A reader of lists of such items; () for anything else."""

    def read(value: Any) -> tuple[Any, ...]:
        fits = isinstance(value, list | tuple) and all(isinstance(item, kinds) for item in value)
        return tuple(value) if fits else ()

    return read


def _read_colors(value: Any) -> tuple[tuple[int, ...], ...]:
    colors = tuple(map(_tuple_of(int), _tuple_of((list, tuple))(value)))
    fits = all(len(c) == 3 and all(0 <= channel <= 255 for channel in c) for c in colors)
    return colors if fits else ()


def _read_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


_READERS: dict[str, Callable[[Any], Any]] = {
    "class_names": _tuple_of(str),
    "class_colors": _read_colors,
    "pixel_mean": _tuple_of((float, int)),
    "pixel_std": _tuple_of((float, int)),
    "image_format": _read_text,
    "config": _read_text,
    "version": _read_text,
}


def no_checkpoint(path: str | Path, *, can_be_empty: bool = False) -> FileNotFoundError:
    """The error that there is no such file.

    Args:
        path: as in MODEL.WEIGHTS; a folder's is told which of its files would do.
        can_be_empty: what wants it does without one too: training.
    """
    folder = ""
    if os.path.isdir(path):
        files = sorted(name for name in os.listdir(path) if name.endswith((".safetensors", ".pth")))
        example = f", such as {os.path.join(path, files[0])}" if files else ""
        folder = f": it is a folder. Name a file in it{example}"
    without = ', and MODEL.WEIGHTS "" starts from nothing' if can_be_empty else ""
    return FileNotFoundError(
        f"There is no checkpoint {path}{folder}. MODEL_ZOO.md says which are published, and how to "
        f"make them{without}."
    )


def check_checkpoint(path: str, *, can_be_empty: bool = False) -> None:
    """Whether MODEL.WEIGHTS names a file, where it is one of this machine's or nothing.

    Raises:
        FileNotFoundError: there is none.
    """
    local = os.path.expanduser(urlparse(path)._replace(query="").geturl())
    if path and "://" not in path and not os.path.isfile(local):
        raise no_checkpoint(path, can_be_empty=can_be_empty)
