"""Pseudo labels: what a trained segmentor sees in videos without labels, as a dataset."""

import logging
import shlex
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MapDataset
from detectron2.utils import comm
from tabulate import tabulate
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..checkpoint import ModelInfo, SegmentorCheckpointer
from ..config import flat_values
from ..data import ClipMapper
from ..data.classes import label_mapping_of
from ..data.loaders import start_worker
from ..files import remove_leftovers
from .pseudo_label_folder import PseudoLabelFolder, count_values
from .restartable import claim_folder, weights_digest
from .trainer import CFFMTrainer
from .tta import ClipSegmentorWithTTA

SETTINGS_FILE = "settings.json"

# What of a model's config has no part in its predictions.
_NOT_OF_THE_LABELS = ("MODEL.WEIGHTS", "MODEL.DEVICE")

logger = logging.getLogger(__name__)


class PseudoLabelCounts(NamedTuple):
    """What a folder of pseudo labels holds.

    Attributes:
        num_videos, num_frames: how many of each.
        num_made: frames that this run has made, in all processes.
        values: (256,), pixels of every value.
    """

    num_videos: int
    num_frames: int
    num_made: int
    values: np.ndarray


def prepare_pseudo_labels(
    cfg: CfgNode, folder: PseudoLabelFolder, min_confidence: float = 0.0
) -> None:
    """Make the folder one of these settings; once, before the processes start.

    Args:
        cfg, folder, min_confidence: as for ``make_pseudo_labels``.

    Raises:
        ValueError: ``min_confidence`` is no share below 1, there are no weights or scales; or the
            folder holds labels of other settings, and the error says which.
        FileNotFoundError: there are no videos, or no frames.
    """
    if not 0 <= min_confidence < 1:
        raise ValueError(f"min_confidence is a probability, 0 <= p < 1; got {min_confidence}")
    if not cfg.MODEL.WEIGHTS and cfg.MODEL.IMAGE_ARCHITECTURE == "SemanticSegmentor":
        raise ValueError(
            "MODEL.WEIGHTS is empty. Name the weights of the model: MODEL.WEIGHTS FILE."
        )
    ClipSegmentorWithTTA.from_config(cfg, nn.Identity())  # complains of scales
    _find_frames(cfg, folder)  # complains of videos
    settings = {
        "weights_sha256": weights_digest(cfg.MODEL.WEIGHTS) if cfg.MODEL.WEIGHTS else "",
        "scales": list(cfg.TEST.AUG.SCALES),
        "flip": cfg.TEST.AUG.FLIP,
        "min_confidence": min_confidence,
        **folder.settings,
        **{f"MODEL.{key}": value for key, value in flat_values(cfg.MODEL).items()},
        "INPUT.FORMAT": cfg.INPUT.FORMAT,
        **{f"INPUT.CLIP.{key}": value for key, value in flat_values(cfg.INPUT.CLIP).items()},
    }
    for key in _NOT_OF_THE_LABELS:
        del settings[key]
    claim_folder(folder.output, settings, file_name=SETTINGS_FILE, results="masks/*")
    remove_leftovers(folder.output)


def make_pseudo_labels(
    cfg: CfgNode, folder: PseudoLabelFolder, min_confidence: float = 0.0
) -> PseudoLabelCounts:
    """Label every frame of a folder's videos, and write the YAML file of the dataset.

    A frame's label is the likeliest class after averaging probabilities over TEST.AUG.SCALES and,
    with TEST.AUG.FLIP, flips. A model of clips gets every frame with its references
    (``offline_clip``). Processes share the frames. PNGs that are there already stay, so that an
    interrupted run goes on. The labels do not depend on the number of processes: on a CPU each
    process computes in one thread.

    Args:
        cfg: of a trained segmentor of clips or images, MODEL.WEIGHTS included.
        folder: after ``prepare_pseudo_labels``.
        min_confidence: pixels whose class has a lower probability become void; 0 <= p < 1.

    Raises:
        FileNotFoundError, ValueError: a frame can't be read, or the weights do not fit.
    """
    model = ClipSegmentorWithTTA(cfg, _load_model(cfg)).eval()
    if cfg.MODEL.DEVICE == "cpu":
        torch.set_num_threads(1)
    frames = _find_frames(cfg, folder)
    mine = frames[comm.get_rank() :: comm.get_world_size()]
    counts, missing = np.zeros(256, dtype=np.int64), []
    for frame in mine:
        found = count_values(frame["mask_file"], cfg.INPUT.MAX_MEGAPIXELS)
        if found is None:
            missing.append(frame)
        else:
            counts += found
    if len(missing) < len(mine):
        logger.info("%d of %d frames are there already", len(mine) - len(missing), len(mine))
    loader = _loader_of(missing, cfg)
    for item in tqdm(loader, unit="frame", disable=not comm.is_main_process()):
        values = _label(model, item, folder, min_confidence)
        folder.write(item["mask_file"], values)
        counts += np.bincount(values.reshape(-1), minlength=256)
    counts = sum(comm.all_gather(counts))
    num_made = sum(comm.all_gather(len(missing)))
    videos = list(dict.fromkeys(frame["video_id"] for frame in frames))
    if comm.is_main_process():
        folder.write_yaml(videos)
    return PseudoLabelCounts(len(videos), len(frames), num_made, counts)


def describe(folder: PseudoLabelFolder, counts: PseudoLabelCounts) -> str:
    """The labels in numbers: a few lines of text."""
    shares, void = folder.shares(counts.values)
    table = tabulate(
        [(name, f"{100 * share:.2f} %") for name, share in shares.items()],
        ("class", "share of labelled pixels"),
        disable_numparse=True,
    )
    return (
        f"{counts.num_frames} frames of {counts.num_videos} videos ({counts.num_made} made now); "
        f"{100 * void:.2f} % of their pixels are void\n\n{table}"
    )


def training_command(cfg: CfgNode, folder: PseudoLabelFolder, config_file: str) -> str:
    """What trains a video segmentor on the labels, and on the config's own training data.

    Args:
        cfg: of the model that made the labels.
        folder: the labels.
        config_file: of that model; "" where it came from the checkpoint.
    """
    real = [name for name in cfg.DATASETS.TRAIN if label_mapping_of(name) == folder.label_mapping]
    names, files = (*real, folder.name), (*cfg.DATASETS.VIDEO_FOLDERS, str(folder.yaml_file))
    keys = {
        "MODEL.TEMPORAL.ENABLED": "True",
        "MODEL.WEIGHTS": cfg.MODEL.WEIGHTS,
        "DATASETS.VIDEO_FOLDERS": str(files),
        "DATASETS.TRAIN": str(names),
        "OUTPUT_DIR": f"output/{folder.name}",
    }
    pairs = (f"{key} {_quoted(value)}" for key, value in keys.items())
    command = f"cffm train --config-file {_quoted(config_file or 'CONFIG')}"
    return " \\\n    ".join((command, *pairs))


def _find_frames(cfg: CfgNode, folder: PseudoLabelFolder) -> list[dict[str, Any]]:
    offsets = cfg.MODEL.TEMPORAL.FRAME_OFFSETS if cfg.MODEL.TEMPORAL.ENABLED else ()
    return folder.find_frames(offsets, cfg.INPUT.CLIP.REVERSE_PROB)


def _load_model(cfg: CfgNode) -> nn.Module:
    model = CFFMTrainer.build_model(cfg)
    info = ModelInfo.from_config(cfg)
    SegmentorCheckpointer(model, require_all=True, info=info).load(cfg.MODEL.WEIGHTS)
    return model


def _loader_of(frames: list[dict[str, Any]], cfg: CfgNode) -> DataLoader:
    """Maps frames one by one."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.TEST.AUG.ENABLED = True  # frames in their own size
    return DataLoader(
        MapDataset(frames, ClipMapper(cfg, is_train=False)),
        batch_size=None,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        worker_init_fn=start_worker,
    )


def _quoted(text: str) -> str:
    """A word of a command, "('a',)" in double quotes where these are enough."""
    return f'"{text}"' if "'" in text and not set('"$`\\') & set(text) else shlex.quote(text)


@torch.inference_mode()
def _label(
    model: ClipSegmentorWithTTA,
    item: dict[str, Any],
    folder: PseudoLabelFolder,
    min_confidence: float,
) -> np.ndarray:
    """The values of a frame's PNG, (height, width) uint8."""
    (output,) = model([item])
    confidence, labels = output["sem_seg"].max(dim=0)
    is_void = confidence < min_confidence
    return folder.values(labels.cpu().numpy(), is_void.cpu().numpy())
