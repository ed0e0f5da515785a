"""The things to measure of a config: what one step of each is."""

import functools
import itertools
from collections.abc import Callable
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ..checkpoint import SegmentorCheckpointer
from ..data.images import image_to_tensor
from ..engine.preemption import LeaveWhenAsked, StopSignals
from ..engine.train_loop import seed_step
from ..inference import StreamingSegmentor, compile_segmentor
from ..modeling import all_finite
from ..synthetic import SyntheticConfig, render_video
from .peer import build_peer, peer_backbone_step, peer_step

MODEL_MODES = ("stream", "clip", "image", "backbone", "train", "stream_guards", "train_guards")
DATA_MODES = ("dataloader", "evaluate")
MODES = (*MODEL_MODES, *DATA_MODES)
NUM_FRAMES = 12  # rendered, then repeated

Step = Callable[[], object]


class Benchmark:
    """The model of a config with random weights, and frames of a generated video.

    One step is, for a frame of the given size with the config's number of classes:
        stream: a frame of a running stream -> its label map;
        clip: a clip -> the target's full logits, as detectron2's users call the model -> argmax;
        image: a frame -> the image segmentor's label map;
        backbone: a normalised frame -> feature maps;
        train: forward and backward of one clip of crops;
        stream_guards: looking whether a frame's prediction is finite;
        train_guards: what a training step's seed, and its asking whether to leave, take.

    Args:
        cfg: the config; ``MODEL.WEIGHTS`` is not read.
        size: height and width of the frames of all modes but ``train``.
        autocast: dtype of the mixed precision of all modes; None for float32.
        channels_last: memory format of the model.
        compiled: the backbone and the temporal module go through ``torch.compile``.

    Attributes:
        flops: multiply-adds of the backbone, the image segmentor and a stream's step.
    """

    def __init__(
        self,
        cfg: CfgNode,
        size: tuple[int, int] = (480, 864),
        *,
        autocast: torch.dtype | None = None,
        channels_last: bool = False,
        compiled: bool = False,
    ):
        torch.manual_seed(0)
        self.cfg = cfg
        self.autocast = autocast
        self.device = torch.device(cfg.MODEL.DEVICE)
        self.model: Any = build_model(cfg).eval()
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.frames = [frame.to(self.device) for frame in _render(size)]
        self.image = (self.frames[0] - self.model.pixel_mean) / self.model.pixel_std
        self.flops = self._count_flops()
        if compiled:  # after the counting, which sees the operations one by one
            compile_segmentor(self.model)

    def steps(self, modes: list[str], with_peer: bool = False) -> dict[str, Step]:
        """A step for every mode of ``MODEL_MODES`` asked for, and the peer's after them."""
        steps: dict[str, Step] = {mode: getattr(self, f"_{mode}")() for mode in modes}
        if "train" in modes:
            steps["plain_backbone_clip"] = self._plain_backbone_clip()
        if with_peer:
            image, peer = self.image[None], self.peer
            steps["peer"] = self._inferring(lambda: peer_step(peer, image))
            steps["peer_backbone"] = self._inferring(lambda: peer_backbone_step(peer, image))
        return steps

    @cached_property
    def peer(self) -> nn.Module:
        return build_peer(self.cfg)

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    @torch.no_grad()
    def _count_flops(self) -> dict[str, float]:
        model, frame = self.model, self.frames[:1]
        encoded = model.encode(frame)
        encode = _multiply_adds(lambda: model.encode(frame))
        counts = {
            "backbone": _multiply_adds(lambda: model.backbone(self.image[None])),
            "image": encode + _multiply_adds(lambda: model.classify(encoded)),
        }
        if model.num_references:
            references = [model.assemble(encoded)] * model.num_references

            def refine() -> Tensor:
                model.assemble(encoded)
                return model.output(encoded, model.mine(encoded, references))

            counts["stream"] = encode + _multiply_adds(refine)
        return counts

    def _stream(self) -> Step:
        stream = StreamingSegmentor(
            self.model, frame_offsets=self.cfg.MODEL.TEMPORAL.FRAME_OFFSETS, autocast=self.autocast
        )
        frames = itertools.cycle(self.frames)
        for _ in range(1 - min(self.cfg.MODEL.TEMPORAL.FRAME_OFFSETS)):  # fill the past
            stream.step(next(frames))
        return lambda: stream.step(next(frames))

    def _clip(self) -> Step:
        length = len(self.cfg.MODEL.TEMPORAL.FRAME_OFFSETS) + 1
        item = {"image": self.frames[:length]}
        return self._inferring(lambda: self.model([item])[0]["sem_seg"].argmax(dim=0))

    def _image(self) -> Step:
        item = {"image": self.frames[0]}
        return self._inferring(lambda: self.model.coarse_output(item).label_map())

    def _backbone(self) -> Step:
        image = self.image[None]
        return self._inferring(lambda: self.model.backbone(image))

    def _train(self) -> Step:
        length = len(self.cfg.MODEL.TEMPORAL.FRAME_OFFSETS) + 1
        size = tuple(self.cfg.INPUT.CROP.SIZE)
        classes = self.cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        draw = functools.partial(torch.randint, generator=torch.Generator().manual_seed(0))
        item = {
            "image": [draw(0, 256, (3, *size)) for _ in range(length)],
            "sem_seg": [draw(0, classes, size) for _ in range(length)],
        }

        def step() -> None:
            self.model.train()
            self.model.zero_grad(set_to_none=True)
            with self._precision():
                losses = self.model([item])
            sum(losses.values()).backward()
            self.model.zero_grad(set_to_none=True)
            self.model.eval()

        return step

    @torch.no_grad()
    def _stream_guards(self) -> Step:
        (coarse,) = self.model.coarse(
            self.model.classify(encoded := self.model.encode(self.frames[:1])),
            encoded,
            [self.frames[0].shape[-2:]],
        )
        return lambda: all_finite(*coarse.parts())

    def _train_guards(self) -> Step:
        hook = LeaveWhenAsked(StopSignals(), SegmentorCheckpointer(self.model), 1 << 30, 0)
        hook.trainer = SimpleNamespace(iter=0, max_iter=1 << 30)

        def step() -> None:
            hook.before_step()
            seed_step(0, 0)
            hook.after_step()

        return step

    def _plain_backbone_clip(self) -> Step:
        """The backbone alone, forward, on the frames of a training clip, with plain softmax."""
        length = len(self.cfg.MODEL.TEMPORAL.FRAME_OFFSETS) + 1
        clip = torch.randn(length, 3, *self.cfg.INPUT.CROP.SIZE, device=self.device)

        def step() -> None:
            with sdpa_kernel(SDPBackend.MATH):
                self.model.backbone(clip)

        return self._inferring(step)

    def _inferring(self, step: Step) -> Step:
        @torch.inference_mode()
        def wrapped() -> object:
            with self._precision():
                return step()

        return wrapped

    def _precision(self) -> torch.autocast:
        enabled = self.autocast is not None
        return torch.autocast(self.device.type, dtype=self.autocast, enabled=enabled)


def _multiply_adds(step: Step) -> float:
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        step()
    return counter.get_total_flops() / 2  # it counts both of a multiplication and an addition


def _render(size: tuple[int, int]) -> list[Tensor]:
    """Frames of a generated video, (3, H, W) uint8."""
    config = SyntheticConfig(height=size[0], width=size[1])
    video = itertools.islice(render_video(config), NUM_FRAMES)
    return [image_to_tensor(image, "RGB") for image, _ in video]
