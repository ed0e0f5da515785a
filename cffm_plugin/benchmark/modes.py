"""The things to measure of a config: what one step of each is."""

import copy
import functools
import itertools
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ..config import load_config
from ..core.nested import to_channels_last
from ..data.images import image_to_tensor
from ..engine import complete_config
from ..inference import StreamingSegmentor, compile_options, compile_segmentor, half_precision_copy
from ..modeling import build_segmentor
from ..synthetic import SyntheticConfig, render_video
from .peer import build_peer, peer_backbone_step, peer_step

NUM_FRAMES = 12  # rendered, then repeated

Step = Callable[[], object]

logger = logging.getLogger(__name__)


def config_to_measure(config_file: str, overrides: Sequence[str] = ()) -> CfgNode:
    """A config, complete, without weights; raises what ``load_config`` does."""
    cfg = load_config(config_file, overrides)
    cfg.MODEL.WEIGHTS = ""
    complete_config(cfg)
    return cfg


def random_clip(cfg: CfgNode) -> dict[str, Any]:
    """A training clip of the config's length, crop size and classes; the same at every call."""
    length = len(cfg.MODEL.TEMPORAL.FRAME_OFFSETS) + 1
    size = tuple(cfg.INPUT.CROP.SIZE)
    draw = functools.partial(torch.randint, generator=torch.Generator().manual_seed(0))
    return {
        "image": [draw(0, 256, (3, *size)) for _ in range(length)],
        "sem_seg": [draw(0, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, size) for _ in range(length)],
    }


class Benchmark:
    """The model of a config with random weights, and frames of a generated video.

    One step is, for a frame of the given size with the config's number of classes:
        stream: a frame of a running stream -> its label map;
        clip: a clip -> the target's full logits, as detectron2's users call the model -> argmax;
        image: a frame -> the image segmentor's label map;
        backbone: a normalised frame -> feature maps;
        train: forward and backward of one clip of crops.

    With ``autocast`` or ``compiled`` the first four are there a second time, as they are without,
    under names that end in "_float32"; and so is the peer.

    Args:
        cfg: the config; ``MODEL.WEIGHTS`` is not read.
        size: height and width of the frames of all modes but ``train``.
        autocast: half precision: inference by ``half_precision_copy``, training by autocast; None
            for float32.
        channels_last: memory format of the model.
        compiled: the backbone and the temporal module, and the peer, go through ``torch.compile``.
        streams: frames of so many streams at a time in the mode "stream".
    """

    def __init__(
        self,
        cfg: CfgNode,
        size: tuple[int, int] = (480, 864),
        *,
        autocast: torch.dtype | None = None,
        channels_last: bool = False,
        compiled: bool = False,
        streams: int = 1,
    ):
        torch.manual_seed(0)
        self.cfg = cfg
        self.autocast, self.compiled, self.num_streams = autocast, compiled, streams
        self.device = torch.device(cfg.MODEL.DEVICE)
        self.model: Any = build_segmentor(cfg).eval()
        if channels_last:
            to_channels_last(self.model)
        self.frames = [frame.to(self.device) for frame in _render(size)]
        self.image = (self.frames[0] - self.model.pixel_mean) / self.model.pixel_std
        self.fast = self._made_fast()

    def steps(
        self, modes: Sequence[str], with_peer: bool = False, *, beside_float32: bool = True
    ) -> dict[str, Step]:
        """A step for every mode asked for, and the peer's after them.

        ``beside_float32``: False leaves out the second time.
        """
        steps: dict[str, Step] = {}
        plain_too = beside_float32 and self.fast is not self.model
        for mode in modes:
            if mode == "train":
                steps |= {"train": self._train(), "plain_backbone_clip": self._plain_backbone()}
                continue
            make = getattr(self, f"_{mode}")
            steps[mode] = make(self.fast)
            if plain_too:
                steps[f"{mode}_float32"] = make(self.model)
        if with_peer:
            image, peer = self.image[None], self._peer_made_fast()
            own = image if self.autocast is None else image.to(self.autocast)
            steps["peer"] = torch.inference_mode()(lambda: peer_step(peer, own))
            steps["peer_backbone"] = torch.inference_mode()(lambda: peer_backbone_step(peer, own))
            if plain_too:
                plain = self.peer
                steps["peer_float32"] = torch.inference_mode()(lambda: peer_step(plain, image))
        return steps

    @cached_property
    def peer(self) -> Any:
        return build_peer(self.cfg)

    def _made_fast(self) -> Any:
        """The model for inference; itself where nothing is asked for."""
        if self.autocast is not None:
            fast = half_precision_copy(self.model, self.autocast)
        elif self.compiled:
            fast = copy.deepcopy(self.model)
        else:
            return self.model
        if self.compiled:
            compile_segmentor(fast, **compile_options(self.cfg))
        return fast

    def _peer_made_fast(self) -> Any:
        """The peer as its users make it fast: all of it in half precision, all of it compiled."""
        peer = self.peer
        if self.autocast is not None or self.compiled:
            peer = copy.deepcopy(peer).to(self.autocast or torch.float32)
        if self.compiled:
            peer.compile(dynamic=False, **compile_options(self.cfg))
            peer.segformer.compile(dynamic=False, **compile_options(self.cfg))
        return peer

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    @cached_property
    def flops(self) -> dict[str, float]:
        """Multiply-adds of the backbone, the image segmentor and a stream's step."""
        # Without values: plain softmax, which is counted, would fill the memory with large frames.
        try:
            return self._count_flops_on("meta")
        except (RuntimeError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            logger.info("Arithmetic is counted with values, since the model reads some: %s", reason)
            return self._count_flops_on(self.cfg.MODEL.DEVICE)

    @torch.no_grad()
    def _count_flops_on(self, device: str) -> dict[str, float]:
        model = copy.deepcopy(self.model).to(device).requires_grad_(False)
        frame, image = [self.frames[0].to(device)], self.image[None].to(device)
        encoded = model.encode(frame)
        encode = _multiply_adds(lambda: model.encode(frame))
        counts = {
            "backbone": _multiply_adds(lambda: model.backbone(image)),
            "image": encode + _multiply_adds(lambda: model.classify(encoded)),
        }
        if model.clip_length != 1:
            offsets = self.cfg.MODEL.TEMPORAL.FRAME_OFFSETS
            pasts = [model.first_past(offsets)]
            for _ in range(-min(offsets, default=0)):  # fill the past
                _, pasts = model.advance(encoded, pasts)

            def refine() -> Tensor:
                refined, _ = model.advance(encoded, pasts)
                return model.output(encoded, refined)

            counts["stream"] = encode + _multiply_adds(refine)
        return counts

    def _stream(self, model: Any) -> Step:
        offsets = self.cfg.MODEL.TEMPORAL.FRAME_OFFSETS
        segmentor = StreamingSegmentor(model, frame_offsets=offsets, max_streams=self.num_streams)
        frames = itertools.cycle(self.frames)

        def step() -> Tensor:
            return segmentor.step_all(dict.fromkeys(range(self.num_streams), next(frames)))[0]

        for _ in range(1 - min(offsets)):  # fill the past
            step()
        return step

    def _clip(self, model: Any) -> Step:
        length = len(self.cfg.MODEL.TEMPORAL.FRAME_OFFSETS) + 1
        item = {"image": self.frames[:length]}
        return torch.inference_mode()(lambda: model([item])[0]["sem_seg"].argmax(dim=0))

    def _image(self, model: Any) -> Step:
        item = {"image": self.frames[0]}
        return torch.inference_mode()(lambda: model.coarse_output(item).label_map())

    def _backbone(self, model: Any) -> Step:
        image = self.image[None]
        return torch.inference_mode()(lambda: model.backbone(image))

    def _train(self) -> Step:
        item = random_clip(self.cfg)
        model = self.model
        if self.compiled:
            model = copy.deepcopy(model)
            compile_segmentor(model, **compile_options(self.cfg))

        def step() -> None:
            model.train()
            model.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, self.autocast, self.autocast is not None):
                losses = model([item])
            sum(losses.values()).backward()
            model.zero_grad(set_to_none=True)
            model.eval()

        return step

    def _plain_backbone(self) -> Step:
        """The backbone alone, forward, on the frames of a training clip, with plain softmax."""
        length = len(self.cfg.MODEL.TEMPORAL.FRAME_OFFSETS) + 1
        clip = torch.randn(length, 3, *self.cfg.INPUT.CROP.SIZE, device=self.device)

        def step() -> None:
            with sdpa_kernel(SDPBackend.MATH):
                self.model.backbone(clip)

        return torch.inference_mode()(step)


def _multiply_adds(step: Step) -> float:
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        step()
    return counter.get_total_flops() / 2  # it counts both of a multiplication and an addition


def _render(size: tuple[int, int]) -> list[Tensor]:
    """Frames of a generated video, (3, H, W) uint8."""
    config = SyntheticConfig(height=size[0], width=size[1])
    video = itertools.islice(render_video(config), NUM_FRAMES)
    return [image_to_tensor(image, "RGB") for image, _ in video]
