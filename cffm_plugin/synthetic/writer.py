"""Writing a synthetic dataset in VSPW's layout, deterministic and restartable."""

import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..libraries import OptionalLibrary
from .config import SPLITS, SyntheticConfig
from .render import render_video
from .textures import SYNTHETIC_CLASSES

cv2 = OptionalLibrary("cv2", "Writing a synthetic dataset")

_RENDERER_VERSION = 1  # part of what is stored: raise it when the same config gives other bytes
_JPEG_QUALITY = 92
_AUTHOR = "cffm_plugin.synthetic"
_COMPLETE = "synthetic.json"
_PARTIAL = "synthetic.partial.json"
_SCRATCH = "synthetic.json.tmp"
logger = logging.getLogger(__name__)


def write_synthetic_vspw(
    root: str | PathLike,
    config: SyntheticConfig | None = None,
    *,
    jobs: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write a synthetic dataset in VSPW's layout.

    ``root`` gets ``data/<video>/origin/00000000.jpg``, ``data/<video>/mask/00000000.png`` (one
    channel; class k is k + 1, 0 and 255 are void), ``train.txt``, ``val.txt``, ``test.txt`` and,
    last, ``synthetic.json``, which holds the config and the class names. A call that is interrupted
    can be repeated and goes on; a dataset that is there already stays as it is.

    Args:
        root: folder that is absent, empty, or holds a dataset that this function wrote.
        config: what to write; by default ``SyntheticConfig()``.
        jobs: processes that render, a video at a time. The bytes do not depend on it. More than one
            starts Python anew, so a script needs ``if __name__ == "__main__":``.
        overwrite: replace a dataset that this function wrote. Other people's files never go.
        progress: show a bar.

    Returns:
        ``root`` as a path, ``~`` expanded.

    Raises:
        FileExistsError: ``root`` holds something else: another config's dataset, or files that this
            function did not write.
        ValueError: ``jobs`` is below 1.
    """
    config = config or SyntheticConfig()
    if jobs < 1:
        raise ValueError(f"write_synthetic_vspw: jobs must be at least 1, got {jobs}")
    root = Path(root).expanduser()
    if _claim(root, config, overwrite):
        logger.info("%s already holds this synthetic dataset", root)
        return root
    for split in SPLITS:
        names = [_video_id(s, i) for s, i in config.videos() if s == split]
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    (root / "data").mkdir(exist_ok=True)
    videos = config.videos()
    with ExitStack() as stack:
        run: Callable = map
        if jobs > 1:
            # Not fork: OpenCV's threads do not survive it.
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(min(jobs, len(videos) or 1), context)
            run = stack.enter_context(pool).map
        written = run(partial(_write_video, root, config), videos)
        for _ in tqdm(written, "videos", len(videos), unit="video", disable=not progress):
            pass
    os.replace(root / _PARTIAL, root / _COMPLETE)
    return root


def _video_id(split: str, index: int) -> str:
    return f"{split}_{index:04d}"


def _frame_files(frame: int) -> tuple[str, str]:
    return f"origin/{frame:08d}.jpg", f"mask/{frame:08d}.png"


def _write_video(root: Path, config: SyntheticConfig, video: tuple[str, int]) -> None:
    """Write a video beside its place and move it there when it is whole."""
    folder = root / "data" / _video_id(*video)
    if folder.exists():
        return
    unfinished = folder.with_name(f"{folder.name}.partial")
    for part in ("origin", "mask"):
        (unfinished / part).mkdir(parents=True, exist_ok=True)
    with _one_opencv_thread():
        frames = render_video(config, split=video[0], index=video[1])
        for number, (image, labels) in enumerate(frames):
            image_file, mask_file = _frame_files(number)
            quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
            (unfinished / image_file).write_bytes(cv2.imencode(".jpg", image, quality)[1].data)
            (unfinished / mask_file).write_bytes(cv2.imencode(".png", labels)[1].data)
    unfinished.rename(folder)


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _description(config: SyntheticConfig) -> dict[str, Any]:
    return {
        "written_by": _AUTHOR,
        "version": _RENDERER_VERSION,
        "config": {**vars(config), "num_videos": {s: config.num_videos.get(s, 0) for s in SPLITS}},
        "classes": list(SYNTHETIC_CLASSES[: config.num_classes]),
    }


def _claim(root: Path, config: SyntheticConfig, overwrite: bool) -> bool:
    """Make ``root`` ours to write in. True if it holds the dataset already."""
    if root.exists() and not root.is_dir():
        raise FileExistsError(f"{root} is a file; choose a folder for the synthetic dataset.")
    root.mkdir(parents=True, exist_ok=True)
    wanted, found = _description(config), _read_description(root)
    if found is None and any(path.name != _SCRATCH for path in root.iterdir()):
        raise FileExistsError(
            f"{root} holds files that are not a synthetic dataset. Nothing was changed. Choose an "
            "empty or a new folder."
        )
    if found is not None and found != wanted and not overwrite:
        raise FileExistsError(
            f"{root} holds a synthetic dataset of another config ({_differences(found, wanted)}). "
            "Choose another folder, or replace that dataset with overwrite=True (--overwrite)."
        )
    if found is not None and overwrite:
        _remove_dataset(root, found)
    elif found is not None and (root / _COMPLETE).exists():
        return True
    (root / _SCRATCH).write_text(json.dumps(wanted, indent=2) + "\n")
    os.replace(root / _SCRATCH, root / _PARTIAL)
    return False


def _read_description(root: Path) -> dict[str, Any] | None:
    """What was written into ``root``, completely or not; None if nothing of ours was."""
    for name in (_COMPLETE, _PARTIAL):
        try:
            description = json.loads((root / name).read_text())
        except (FileNotFoundError, ValueError):
            continue
        if isinstance(description, dict) and description.get("written_by") == _AUTHOR:
            return description
    return None


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    theirs, ours = ({"version": d["version"], **d["config"]} for d in (found, wanted))
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return ", ".join(f"{n} {theirs.get(n)} instead of {ours.get(n)}" for n in names)


def _remove_dataset(root: Path, description: dict[str, Any]) -> None:
    """Remove the files that ``description`` says were written, if there are no others."""
    written = {root / name for name in (_COMPLETE, _PARTIAL, _SCRATCH)}
    written |= {root / f"{split}.txt" for split in SPLITS}
    folders = [root / "data"]
    for split, count in description["config"]["num_videos"].items():
        for index in range(count):
            for suffix in ("", ".partial"):
                video = root / "data" / f"{_video_id(split, index)}{suffix}"
                folders += [video, video / "origin", video / "mask"]
                for frame in range(description["config"]["frames_per_video"]):
                    written |= {video / name for name in _frame_files(frame)}
    present = [path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]
    strange = sorted(str(path) for path in present if path not in written)
    if strange:
        raise FileExistsError(
            f"{root} can't be replaced: it also holds {len(strange)} files that were not written "
            f"with it, such as {strange[0]}. Nothing was changed. Move them away, then try again."
        )
    if (root / _COMPLETE).exists():  # from here on it is unfinished, whatever happens
        os.replace(root / _COMPLETE, root / _PARTIAL)
    for path in present:
        if path.name != _PARTIAL:
            path.unlink(missing_ok=True)
    for folder in reversed(folders):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
