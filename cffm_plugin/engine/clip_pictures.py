"""Pictures of clips while a model is trained, for TensorBoard and other writers of events."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.engine import HookBase
from PIL import Image
from torch import Tensor, nn

from ..modeling import CFFMSegmentor
from ..pictures.clip_sheet import clip_sheet
from ..pictures.painting import Legend

MOST_INPUTS = 8  # clips of the first batch that are shown

Clip = Mapping[str, Any]


class ClipPictures(HookBase):
    """Puts pictures into the storage of events: of the first batch, then of predictions.

    Before the first step, ``input/0``, ``input/1``, ...: the clips of its batch, augmented, with
    their labels. After every ``period`` steps, ``predictions``: the first clip of the step's batch
    and what the model, as it is then, says of it. Nothing of the training changes by it: the model
    looks at the clip in evaluation mode without gradient, its modes are restored module by module,
    and so are the states of all random generators.

    Args:
        model: without DistributedDataParallel around it.
        batch: gives the clips of the step under way or just done.
        classes: name and colour, red-green-blue, of every class.
        image_format: channel order of the clips, "RGB" or "BGR".
        period: in steps, at least 1.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: Callable[[], Sequence[Clip]],
        classes: Legend,
        *,
        image_format: str,
        period: int,
    ):
        self.model = model
        self.batch = batch
        self.classes = classes
        self.image_format = image_format
        self.period = period

    def after_step(self) -> None:
        batch = self.batch()
        if self.trainer.iter == self.trainer.start_iter:
            for index, clip in enumerate(batch[:MOST_INPUTS]):
                self._put(f"input/{index}", clip)
        if (self.trainer.iter + 1) % self.period == 0:
            self._put("predictions", batch[0], predict_clip(self.model, batch[0]))

    def _put(
        self,
        name: str,
        clip: Clip,
        predictions: Mapping[str, Sequence[np.ndarray | None]] | None = None,
    ) -> None:
        sheet = clip_sheet(
            clip, self.classes, image_format=self.image_format, predictions=predictions
        )
        self.trainer.storage.put_image(name, _as_tensor(sheet))


def predict_clip(model: nn.Module, clip: Clip) -> dict[str, list[np.ndarray | None]]:
    """What a model says of a training clip, without a trace in the model.

    Args:
        model: a CFFMSegmentor; or another that takes clips and gives logits, as it does.
        clip: of ``ClipMapper``.

    Returns:
        row -> a label map (h, w) for every frame, None where there is none: "image segmentor", of
        every frame by itself, and "video segmentor", of the target. Without a temporal module the
        first alone; of another model "prediction", of the target.
    """
    frames = clip["image"]
    nothing: list[np.ndarray | None] = [None] * (len(frames) - 1)
    with _left_as_it_is(model):
        if not isinstance(model, CFFMSegmentor):
            return {"prediction": [*nothing, _label_map(model, clip, frames)]}
        rows = {"image segmentor": [_label_map(model, clip, [frame]) for frame in frames]}
        if model.temporal is None:
            return rows
        return rows | {"video segmentor": [*nothing, _label_map(model, clip, frames)]}


def _label_map(model: nn.Module, clip: Clip, frames: list[Tensor]) -> np.ndarray | None:
    height, width = frames[-1].shape[1:]
    item = {key: value for key, value in clip.items() if key != "sem_seg"}
    item |= {"image": frames, "height": height, "width": width}
    return model([item])[0]["sem_seg"].argmax(dim=0).cpu().numpy()


@contextmanager
def _left_as_it_is(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradient; afterwards modes and random generators are as before."""
    modes = {module: module.training for module in model.modules()}
    state, numpy_state = random.getstate(), np.random.get_state()
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.is_cuda})
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            yield
    finally:
        for module, training in modes.items():
            module.training = training
        random.setstate(state)
        np.random.set_state(numpy_state)


def _as_tensor(picture: Image.Image) -> Tensor:
    """(3, H, W) uint8, as the storage takes pictures."""
    return torch.from_numpy(np.array(picture).transpose(2, 0, 1).copy())
