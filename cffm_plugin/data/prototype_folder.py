"""Files with the global prototypes of videos (CFFM++)."""

import os
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from .file_names import check_name

_KEPT_IN_MEMORY = 64  # videos; test frames of a video follow each other


class PrototypeFolder:
    """A folder with the prototypes of every video of a dataset, matched by video id.

    Reads ``<folder>/<video>.pt``, as cffm prototypes writes it, or else the authors'
    layout, a folder ``<folder>/<video>/`` with ``centers.pt``; where that folder holds several
    files, all of them together. Each file is a tensor (P, C) or (1, P, C).

    Args:
        folder: the folder; ``~`` is expanded.

    Raises:
        ValueError: no folder is named.
        FileNotFoundError: there is no such folder.
    """

    def __init__(self, folder: str | os.PathLike):
        if not str(folder):
            raise ValueError(
                "MODEL.TEMPORAL.PROTOTYPES.FOLDER is empty: CFFM++ needs the prototypes of every "
                "video. Make them with cffm prototypes."
            )
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"{self.folder}: there is no such folder of prototypes. Make it with "
                f"cffm prototypes --output {self.folder}, or correct "
                "MODEL.TEMPORAL.PROTOTYPES.FOLDER."
            )
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def load(self, video_id: str) -> Tensor:
        """The prototypes of a video, (P, C) float32.

        Raises:
            FileNotFoundError: there are none for this video.
            ValueError: a file is no tensor of prototypes, they are not finite, or none may be named
                after the video.
        """
        if video_id in self._kept:
            self._kept.move_to_end(video_id)
        else:
            files = self._files_of(video_id)
            self._kept[video_id] = torch.cat([_read(file) for file in files])
            if len(self._kept) > _KEPT_IN_MEMORY:
                self._kept.popitem(last=False)
        return self._kept[video_id]

    def path(self, video_id: str) -> Path:
        """Where this package writes the prototypes of a video.

        Raises:
            ValueError: no file may be named after the video.
        """
        check_name(video_id, "Video")
        return self.folder / f"{video_id}.pt"

    def _files_of(self, video_id: str) -> list[Path]:
        own = self.path(video_id)
        if own.is_file():
            return [own]
        files = sorted((self.folder / video_id).glob("*.pt"))
        if not files:
            raise FileNotFoundError(
                f"There are no prototypes of video {video_id}: neither {own} nor "
                f"{self.folder / video_id / 'centers.pt'}. Make them: "
                f"cffm prototypes --config-file ... --datasets ... --output {self.folder} "
                "MODEL.WEIGHTS ..."
            )
        return files


def _read(file: Path) -> Tensor:
    try:
        prototypes = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are not its own
        raise ValueError(
            f"{file}: expected a tensor of prototypes, but the file is damaged or holds something "
            "else. Delete it and make it again with cffm prototypes."
        ) from error
    if isinstance(prototypes, Tensor) and prototypes.dim() == 3 and len(prototypes) == 1:
        prototypes = prototypes[0]
    if not isinstance(prototypes, Tensor) or prototypes.dim() != 2 or not len(prototypes):
        found = tuple(prototypes.shape) if isinstance(prototypes, Tensor) else type(prototypes)
        raise ValueError(f"{file}: expected prototypes, (P, C) or (1, P, C), got {found}")
    prototypes = prototypes.float()
    if not bool(prototypes.isfinite().all()):
        bad = int((~prototypes.isfinite()).any(dim=1).sum())
        raise ValueError(
            f"{file}: {bad} of {len(prototypes)} prototypes hold values that are NaN or infinite. "
            "Delete it and make it again with cffm prototypes, from a model whose weights "
            "are sound."
        )
    return prototypes
