"""From a config file, or a checkpoint alone, to the complete and frozen config of a program."""

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY

from ..checkpoint import load_stored_config
from ..config import add_cffm_config, load_config, make_paths_absolute, with_values
from ..data import register_video_folder_from_yaml
from ..foreign_parts import log_foreign_parts
from ..modeling import how_to_wrap, resolve_normalization

# Builders of image segmentors alone, which are no classes.
_IMAGE_BUILDERS = ("build_hf_segmenter",)

ReadConfig = Callable[[str, Sequence[str]], CfgNode]

logger = logging.getLogger(__name__)


def read_config(config_file: str = "", overrides: Sequence[str] = ()) -> CfgNode:
    """The config of a file, or of a shipped one's name; without it, that which MODEL.WEIGHTS, among
    the overrides, carries. Complete and frozen: ``cffm_plugin.config.with_values`` makes another.

    Raises:
        FileNotFoundError, KeyError, ValueError: see ``load_config``, ``load_stored_config`` and
            ``complete_config``.
    """
    return completed(
        load_config(config_file, overrides) if config_file else load_stored_config(overrides)
    )


def completed(cfg: CfgNode, values: Mapping[str, Any] | None = None) -> CfgNode:
    """A copy with these values, by full keys, after ``complete_config``; frozen."""
    whole = with_values(cfg, values or {})
    whole.defrost()
    complete_config(whole)
    whole.freeze()
    return whole


def complete_config(cfg: CfgNode) -> None:
    """See to what a config leaves to the machine and to other files.

    In place: paths become absolute, so that a saved config works from every folder; the device is
    the CPU where there is no other, images are normalised as ``resolve_normalization`` says, and
    the datasets of DATASETS.VIDEO_FOLDERS are registered.

    Raises:
        ValueError: the model is one for images alone, or there is no such kind of device.
    """
    add_cffm_config(cfg)  # what other projects' functions, called by hand, have taken away
    log_foreign_parts(cfg.MODEL.IMPORTS, cfg.MODEL.CONFIG_ADDERS)
    _check_meta_architecture(cfg.MODEL.META_ARCHITECTURE)
    make_paths_absolute(cfg)
    try:
        torch.device(cfg.MODEL.DEVICE)
    except RuntimeError as error:
        raise ValueError(
            f'MODEL.DEVICE is "{cfg.MODEL.DEVICE}": expected "cpu", "cuda" or "cuda:NUMBER"'
        ) from error
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
        logger.warning("There is no CUDA device; MODEL.DEVICE is cpu")
    resolve_normalization(cfg)
    for file in cfg.DATASETS.VIDEO_FOLDERS:
        register_video_folder_from_yaml(file)


def _check_meta_architecture(name: str) -> None:
    """
    Raises:
        ValueError: it is one of images alone: detectron2's, or a subclass of these that leaves
            their ``forward`` as it is. GeneralizedRCNN is one where a config says nothing.
    """
    known = META_ARCH_REGISTRY.get(name) if name in META_ARCH_REGISTRY else None
    forward = getattr(known, "forward", None)
    is_detectron2s = getattr(forward, "__module__", "").startswith("detectron2.")
    if is_detectron2s or name in _IMAGE_BUILDERS:
        raise ValueError(
            f"MODEL.META_ARCHITECTURE is {name}, which takes images and no clips of video. "
            f"{how_to_wrap(name)}"
        )


def with_config(args: argparse.Namespace, cfg: CfgNode | None) -> argparse.Namespace:
    """The arguments of a job, with the config that this process has read of them; None: without it,
    for a process that imports and registers what the config names itself."""
    kept = {name: value for name, value in vars(args).items() if name != "cfg"}
    return argparse.Namespace(**kept, **({} if cfg is None else {"cfg": cfg}))


def config_of_arguments(args: argparse.Namespace, read: ReadConfig = load_config) -> CfgNode:
    """What ``with_config`` left, or else what ``read`` makes of detectron2's arguments."""
    cfg = getattr(args, "cfg", None)
    return read(args.config_file, args.opts) if cfg is None else cfg
