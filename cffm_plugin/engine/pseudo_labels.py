"""Pseudo labels: what a trained segmentor sees in videos without labels, as a dataset."""

import logging
import shlex
from collections.abc import Sequence
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

from ..checkpoint import build_and_load
from ..data import ClipMapper
from ..data.classes import label_mapping_of
from ..data.loaders import start_worker
from ..files import remove_leftovers
from ..job_spec import JobSpec
from .pseudo_label_folder import PseudoLabelFolder, count_values
from .restartable import claim_folder, model_settings_from_config
from .trainer import CFFMTrainer
from .tta import ClipSegmentorWithTTA

SETTINGS_FILE = "settings.json"

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
    spec = JobSpec.from_config(cfg)
    if not spec.weights and spec.needs_weights:
        raise ValueError(
            "MODEL.WEIGHTS is empty. Name the weights of the model: MODEL.WEIGHTS FILE."
        )
    ClipSegmentorWithTTA.from_config(cfg, nn.Identity())  # complains of scales
    folder.find_frames(*_references_from_config(cfg))  # complains of videos
    settings = _settings_from_config(cfg) | {"min_confidence": min_confidence} | folder.settings
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
    model = ClipSegmentorWithTTA(cfg, build_and_load(cfg, CFFMTrainer.build_model)).eval()
    spec = JobSpec.from_config(cfg)
    if spec.device == "cpu":
        torch.set_num_threads(1)
    frames = folder.find_frames(*_references_from_config(cfg))
    mine = frames[comm.get_rank() :: comm.get_world_size()]
    counts, missing = np.zeros(256, dtype=np.int64), []
    for frame in mine:
        found = count_values(frame["mask_file"], spec.max_megapixels)
        if found is None:
            missing.append(frame)
        else:
            counts += found
    if len(missing) < len(mine):
        logger.info("%d of %d frames are there already", len(mine) - len(missing), len(mine))
    # Frames in their own size: the model resizes them.
    mapper = ClipMapper(**ClipMapper.from_config(cfg, is_train=False) | {"augmentations": []})
    loader = DataLoader(
        MapDataset(missing, mapper),
        batch_size=None,
        num_workers=spec.num_workers,
        worker_init_fn=start_worker,
    )
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
    spec = JobSpec.from_config(cfg)
    real = [name for name in spec.train if label_mapping_of(name) == folder.label_mapping]
    names, files = (*real, folder.name), (*spec.video_folders, str(folder.yaml_file))
    keys = {
        "MODEL.TEMPORAL.ENABLED": "True",
        "MODEL.WEIGHTS": spec.weights,
        "DATASETS.VIDEO_FOLDERS": str(files),
        "DATASETS.TRAIN": str(names),
        "OUTPUT_DIR": f"output/{folder.name}",
    }
    pairs = (f"{key} {_quoted(value)}" for key, value in keys.items())
    command = f"cffm train --config-file {_quoted(config_file or 'CONFIG')}"
    return " \\\n    ".join((command, *pairs))


def _references_from_config(cfg: CfgNode) -> tuple[Sequence[int], float]:
    """Offsets of references, and how likely a clip is drawn from the video reversed."""
    node = cfg.MODEL.TEMPORAL
    return node.FRAME_OFFSETS if node.ENABLED else (), cfg.INPUT.CLIP.REVERSE_PROB


def _settings_from_config(cfg: CfgNode) -> dict[str, Any]:
    node = cfg.TEST.AUG
    return model_settings_from_config(cfg) | {"scales": list(node.SCALES), "flip": node.FLIP}


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
