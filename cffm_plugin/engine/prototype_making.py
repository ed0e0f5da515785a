"""Making the global prototypes of videos: offline, per video, before CFFM++ is trained."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from tqdm import tqdm

from ..checkpoint import build_and_load
from ..config import with_values
from ..core import prototype_frames
from ..data import ClipMapper, Dataset, PrototypeFolder, check_registered
from ..files import remove_leftovers, whole_file
from ..inference import name_of_frame, not_finite
from ..job_spec import JobSpec
from ..libraries import import_library
from ..modeling import CFFMSegmentor, all_finite
from .restartable import claim_folder, weights_digest

SETTINGS_FILE = "prototypes.json"

logger = logging.getLogger(__name__)


def make_prototypes(cfg: CfgNode, dataset_names: Sequence[str], output: str | os.PathLike) -> None:
    """Write the prototypes of every video of some datasets, one file per video.

    The frames of a video (``prototype_frames``) go through the image part of the model as in test;
    k-means over the vectors of their embeddings gives the prototypes. Processes share the videos.
    Files that are there already stay, so that an interrupted run goes on; a folder that was made
    with other weights or settings is an error. The result does not depend on the number of
    processes.

    Args:
        cfg: of a trained CFFM, MODEL.WEIGHTS included.
        dataset_names: registered names.
        output: the folder.

    Raises:
        KeyError: a name is not registered.
        ValueError: the folder holds prototypes of other weights or settings.
        FloatingPointError: an embedding is NaN or infinite.
        ModuleNotFoundError: scikit-learn is not installed.
    """
    _import_kmeans()  # before the number of its threads is limited below
    threadpoolctl = import_library("threadpoolctl", "Making prototypes")
    check_registered(dataset_names, "--datasets")
    # The image part is all that is needed.
    image_part = {"MODEL.TEMPORAL.PROTOTYPES.ENABLED": False, "MODEL.TEMPORAL.ENABLED": True}
    cfg = with_values(cfg, image_part)
    settings = _settings_from_config(cfg)
    model = build_and_load(cfg).eval()
    folder = Path(output).expanduser()
    if comm.is_main_process():
        claim_folder(folder, settings, file_name=SETTINGS_FILE, results="*.pt")
        remove_leftovers(folder)
    comm.synchronize()

    videos = {
        video["video_id"]: [frame | {"video_id": video["video_id"]} for frame in video["frames"]]
        for name in dataset_names
        for video in Dataset.registered(name).videos
    }
    mine = sorted(videos)[comm.get_rank() :: comm.get_world_size()]
    prototypes = PrototypeFolder(folder)
    missing = [video_id for video_id in mine if not prototypes.path(video_id).exists()]
    if len(missing) < len(mine):
        logger.info("%d of %d videos are there already", len(mine) - len(missing), len(mine))
    mapper = ClipMapper(cfg, is_train=False)
    # One thread, so that sums are made in the same order whatever shares the machine.
    if JobSpec.from_config(cfg).device == "cpu":
        torch.set_num_threads(1)
    with threadpoolctl.threadpool_limits(1):
        for video_id in tqdm(missing, unit="video", disable=not comm.is_main_process()):
            vectors = _embeddings(model, mapper, videos[video_id], settings["num_frames"])
            centers = cluster(vectors, settings["num_prototypes"], settings["iterations"])
            write_prototypes(prototypes.path(video_id), centers)
    comm.synchronize()
    logger.info("Prototypes of %d videos are in %s", len(videos), folder)


def cluster(vectors: np.ndarray, num_clusters: int, iterations: int, seed: int = 0) -> np.ndarray:
    """K-means, Euclidean, started by k-means++ with a fixed seed.

    Args:
        vectors: (N, C) float32.
        num_clusters: P; at most as many clusters as there are distinct vectors are made.
        iterations: at most so many.
        seed: of the start.

    Returns:
        (P, C) float32.
    """
    distinct = len(np.unique(vectors, axis=0)) if len(vectors) <= num_clusters else len(vectors)
    kmeans = _import_kmeans()(
        min(num_clusters, distinct),
        init="k-means++",
        n_init=1,
        max_iter=iterations,
        random_state=seed,
        algorithm="lloyd",
    )
    return kmeans.fit(vectors).cluster_centers_.astype(np.float32)


def _import_kmeans() -> Any:
    return import_library("sklearn.cluster", "Making prototypes").KMeans


@torch.no_grad()
def _embeddings(
    model: CFFMSegmentor, mapper: ClipMapper, frames: Sequence[dict[str, Any]], num_frames: int
) -> np.ndarray:
    """The vectors of a video's sampled frames, (N, C) float32."""
    vectors = []
    for index in prototype_frames(len(frames), num_frames):
        record = frames[index] | {"reference_file_names": []}
        image = mapper(record)["image"]
        embedding = model.encode(image).cells  # (1, C, h, w)
        if not all_finite(embedding):
            raise not_finite(name_of_frame(record), model, image)
        vectors.append(embedding[0].flatten(1).t().float().cpu().numpy())
    return np.concatenate(vectors)


def _settings_from_config(cfg: CfgNode) -> dict[str, Any]:
    """What decides the prototypes besides the videos."""
    node = cfg.MODEL.TEMPORAL.PROTOTYPES
    return {
        "weights_sha256": weights_digest(cfg.MODEL.WEIGHTS),
        "num_frames": node.NUM_FRAMES,
        "num_prototypes": node.NUM_PROTOTYPES,
        "iterations": node.ITERATIONS,
        "stride": cfg.MODEL.TEMPORAL.STRIDE,
        "fit_size": list(cfg.INPUT.CLIP.FIT_SIZE),
        "size_divisibility": cfg.INPUT.CLIP.TEST_SIZE_DIVISIBILITY,
    }


def write_prototypes(path: Path, centers: np.ndarray) -> None:
    """(P, C) float32 into a file."""
    # To an open file: of a path, torch forgets the system's error.
    with whole_file(path) as partial, partial.open("wb") as file:
        torch.save(torch.from_numpy(centers), file)
