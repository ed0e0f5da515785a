"""Clips of a folder of videos as a plain dataset of torch's."""

import dataclasses
import random
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from .core.clips import inference_clip, training_clip, training_targets
from .core.defaults import FRAME_OFFSETS
from .data import IGNORE_LABEL, LabelMapping, load_vspw
from .data.clip_records import labelled_frames
from .data.datasets.video_folder import folders_of_yaml, load_video_folder
from .data.images import read_rgb
from .data.label_sanity import check_training_labels

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class VideoFolder(Dataset[dict[str, Tensor]]):
    """Clips and their labels, for ``VideoSegmentor`` and any other model of clips.

        data = VideoFolder("mine.yaml", split="train", crop_size=(480, 480))
        loader = torch.utils.data.DataLoader(data, batch_size=2, shuffle=True)

    For training there is an item for every labelled frame that has all its references, before it
    or, with ``reverse_prob``, after it. Otherwise one for every labelled frame, with the references
    of ``inference_clip``. Where that has none, as of a video's first frames, the frame itself
    stands in their place, so that all clips have one length and make batches. A stream segments
    these few as images: ``VideoSegmentor.stream`` is for scores that are to be those of streams.

    Items are dicts of ``clips``: (T, 3, H, W) uint8, RGB, the target last; and ``labels``:
    (T, H, W) int64, classes 0..K-1, 255 where there is none, and in frames without labels.

    Args:
        source: a YAML file of folders of videos (datasets/README.md); or a folder in VSPW's layout.
        split: of a YAML file, the dataset of that name, or whose name ends in _<split>; of a
            folder, the list <split>.txt.
        num_classes: K, of a folder in VSPW's layout, which does not say it.
        frame_offsets: of the references, as the model's ``frame_offsets``; () for single frames.
        is_train: whether items are for training; by default as the YAML file says, or where the
            split is "train".
        crop_size: height and width that frames of training are cut to, so that they make batches,
            at one scale, place and mirroring for a clip; smaller ones are padded.
        scale_range: of that scale, relative to the frames' own size.
        flip_prob: of the mirroring.
        reverse_prob: of references that come after the target, where there are both.
        transform: called with ``clips`` and ``labels`` after all that.

    Attributes:
        class_names: K names.
        label_mapping: what the values in the masks mean.

    Raises:
        FileNotFoundError: there is no such file, folder or split.
        ValueError: the YAML file or the folder is not as it should be, masks look as if they meant
            something else, or there is no clip.
    """

    def __init__(
        self,
        source: str | PathLike,
        split: str,
        *,
        num_classes: int | None = None,
        frame_offsets: Sequence[int] = FRAME_OFFSETS,
        is_train: bool | None = None,
        crop_size: tuple[int, int] | None = None,
        scale_range: tuple[float, float] = (0.5, 2.0),
        flip_prob: float = 0.5,
        reverse_prob: float = 0.5,
        transform: Transform | None = None,
    ):
        self.frame_offsets = tuple(frame_offsets)
        self.crop_size, self.scale_range, self.flip_prob = crop_size, scale_range, flip_prob
        self.reverse_prob, self.transform = reverse_prob, transform
        path = Path(source).expanduser()
        if path.is_dir():
            if num_classes is None:
                raise ValueError(f"{path}: num_classes, the number of its classes, is missing")
            self.is_train = split == "train" if is_train is None else is_train
            self.class_names = tuple(f"class {k}" for k in range(num_classes))
            self.label_mapping = LabelMapping.shifted_by_one(num_classes)
            videos = load_vspw(path, split, is_train=True)
        else:
            folder = _folder_of(path.absolute(), split)
            self.is_train = folder.is_train if is_train is None else is_train
            self.class_names, self.label_mapping = folder.classes, folder.label_mapping
            videos = load_video_folder(dataclasses.replace(folder, is_train=True))
        self.videos = videos
        self.num_classes = len(self.class_names)
        self._targets = self._find_targets()
        if not self._targets:
            raise ValueError(
                f"{path}, {split}: there is no clip. It takes a labelled frame"
                + (f" with references at {self.frame_offsets}" if self.is_train else "")
            )
        if self.is_train:
            check_training_labels({split: videos}, self.label_mapping, class_names=self.class_names)

    def _find_targets(self) -> list[tuple[int, int]]:
        """Video and frame of every item."""
        found = []
        for number, video in enumerate(self.videos):
            frames = labelled_frames(video)
            if self.is_train:
                forward, backward = training_targets(
                    len(video["frames"]), self.frame_offsets, self.reverse_prob, frames
                )
                frames = sorted({*forward, *backward})
            found += [(number, frame) for frame in frames]
        return found

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, target = self._targets[index]
        video = self.videos[number]
        frames = [video["frames"][i] for i in self._clip(video, target)]
        images = [read_rgb(f["file_name"]) for f in frames]
        sizes = {image.shape for image in images}
        if len(sizes) > 1:
            raise ValueError(
                f"Video {video['video_id']}: frames of a clip have several sizes: "
                + ", ".join(f"{f['file_name']} {i.shape[:2]}" for f, i in zip(frames, images))
            )
        clips = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        labels = torch.stack([self._labels(f, images[0].shape[:2]) for f in frames])
        if self.is_train and self.crop_size is not None:
            clips, labels = self._augment(clips, labels, self.crop_size)
        if self.transform is not None:
            clips, labels = self.transform(clips, labels)
        return {"clips": clips, "labels": labels}

    def _clip(self, video: dict[str, Any], target: int) -> list[int]:
        if not self.is_train:
            clip = inference_clip(target, self.frame_offsets)
            return clip[:1] * (1 + len(self.frame_offsets) - len(clip)) + clip
        rng = random.Random(random.random())  # a data loader seeds each worker's global one
        length = len(video["frames"])
        return training_clip(length, self.frame_offsets, rng, self.reverse_prob, [target])

    def _labels(self, frame: dict[str, Any], size: tuple[int, int]) -> Tensor:
        file = frame["sem_seg_file_name"]
        if file is None:
            return torch.full(size, IGNORE_LABEL, dtype=torch.int64)
        labels = self.label_mapping(self.label_mapping.read(file))
        if labels.shape != size:
            raise ValueError(f"{file} is {labels.shape}, and its frame {frame['file_name']} {size}")
        return torch.from_numpy(labels.astype(np.int64))

    def _augment(
        self, clips: Tensor, labels: Tensor, crop: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        scale = random.uniform(*self.scale_range)
        height, width = (max(1, round(side * scale)) for side in clips.shape[2:])
        resized = F.interpolate(
            clips.float(), size=(height, width), mode="bilinear", antialias=True
        )
        clips = resized.round().clamp(0, 255).to(torch.uint8)
        as_floats = F.interpolate(labels[:, None].float(), size=(height, width), mode="nearest")
        labels = as_floats[:, 0].long()
        bottom, right = max(0, crop[0] - height), max(0, crop[1] - width)
        clips = F.pad(clips, (0, right, 0, bottom))
        labels = F.pad(labels, (0, right, 0, bottom), value=IGNORE_LABEL)
        top = random.randint(0, clips.shape[2] - crop[0])
        left = random.randint(0, clips.shape[3] - crop[1])
        rows, columns = slice(top, top + crop[0]), slice(left, left + crop[1])
        clips, labels = clips[:, :, rows, columns], labels[:, rows, columns]
        if random.random() < self.flip_prob:
            clips, labels = clips.flip(3), labels.flip(2)
        return clips.contiguous(), labels.contiguous()


def _folder_of(file: Path, split: str) -> Any:
    folders = folders_of_yaml(file)
    fitting = [f for f in folders if f.name == split]
    fitting = fitting or [f for f in folders if f.name.endswith(f"_{split}")]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(f.name for f in folders)
    what = f"{len(fitting)} datasets of it end" if fitting else "none of its datasets ends"
    raise ValueError(f"{file}: {what} in _{split}; name one of {names}")
