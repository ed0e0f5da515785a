"""A published model, from a folder or from the Hugging Face hub."""

from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode

from ..checkpoint import config_of_text
from ..engine import completed, read_config
from ..hub_files import PREFIX, HubFile, HubFileError
from ..inference import StreamingSegmentor
from ..model_folders import WEIGHTS, check_source
from ..video_segmentor import VideoSegmentor

CONFIG = "config.yaml"


def load_model(source: str | Path, overrides: Sequence[str] = ()) -> VideoSegmentor:
    """A model with its weights, in evaluation mode; how it streams is as its config says.

    Nothing that comes with it runs code: the config is read as plain YAML, and what it names of
    code is left out, which is logged; the weights are tensors.

    Args:
        source: a folder that ``save_pretrained`` wrote, or "owner/repository" on the Hugging Face
            hub, maybe with "@revision".
        overrides: of its config, a flat sequence ``["KEY", "VALUE", ...]``, such as MODEL.DEVICE,
            TEST.SMOOTHING, or MODEL.IMPORTS where the model needs code of yours.

    Raises:
        FileNotFoundError: ``source`` is neither, or the folder lacks the weights.
        HubFileError: there is no such repository on the hub, or it can't be reached.
        KeyError: an override's key does not exist.
        ValueError: the config can't be used, or the weights don't fit it.
    """
    arguments = StreamingSegmentor.from_config(pretrained_config(source, overrides))
    model: VideoSegmentor = arguments.pop("model")
    model.stream_options = arguments
    return model.eval()


def pretrained_config(source: str | Path, overrides: Sequence[str] = ()) -> CfgNode:
    """The config of ``load_model``, complete, with MODEL.WEIGHTS.

    ``dataset_classes`` of cffm_plugin.inference has the names and colours of its classes.
    """
    weights, config = _files_of(str(source))
    words = ["MODEL.WEIGHTS", weights, *overrides]
    if config is None:
        return read_config(overrides=words)
    return completed(config_of_text(config.read_text(encoding="utf-8"), str(config), words))


def _files_of(source: str) -> tuple[str, Path | None]:
    """The weights, as MODEL.WEIGHTS names them, and the config; None where only they carry it."""
    folder = check_source(source)
    if folder is not None:
        config = folder / CONFIG
        return str(folder / WEIGHTS), config if config.is_file() else None
    repository, _, revision = source.removeprefix(PREFIX).partition("@")
    weights_file = HubFile(repository, WEIGHTS, revision or None)
    try:
        weights_file.fetch()
    except HubFileError as error:
        raise HubFileError(f"{source} is no folder here, and of the hub {error}") from error
    try:
        return str(weights_file), Path(HubFile(repository, CONFIG, revision or None).fetch())
    except HubFileError:  # the weights carry it too
        return str(weights_file), None
