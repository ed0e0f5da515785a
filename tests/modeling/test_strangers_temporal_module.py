"""A temporal module of a stranger, of either kind, works through the config alone."""

from dataclasses import dataclass

import pytest
import torch
from detectron2.modeling import build_model
from torch import Tensor, nn

from cffm_plugin.checkpoint import SegmentorCheckpointer
from cffm_plugin.engine import CFFMTrainer
from cffm_plugin.export import (
    StreamSpec,
    compare,
    export_stream,
    load_programs,
    onnx_runner,
    random_frames,
)
from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.modeling import TEMPORAL_REGISTRY, FrameMap, RecurrentModule, WindowedModule


@TEMPORAL_REGISTRY.register()
class MeanOfPast(WindowedModule):
    """Adds a learned map of the mean of two references' embeddings."""

    num_references = 2

    def __init__(self, cfg, embedding_channels, output_shape):
        super().__init__()
        self.dim = embedding_channels
        self.mix = nn.Conv2d(self.dim, self.dim, kernel_size=1)

    def assemble(self, frame, slots=None):
        return FrameMap(frame.cells)

    def mine(self, target, references):
        past = torch.stack([tokens.frame for tokens in references]).mean(dim=0)
        return target.cells + self.mix(past)


@dataclass(frozen=True)
class Memory:
    """A running mean of the cells, (N, C, h, w)."""

    cells: Tensor


@TEMPORAL_REGISTRY.register()
class RunningMean(RecurrentModule):
    """Adds a learned map of a running mean; looks at the backbone's res3 for its weight."""

    levels = ("res3",)

    def __init__(self, cfg, embedding_channels, output_shape):
        super().__init__()
        self.dim = embedding_channels
        self.mix = nn.Conv2d(self.dim, self.dim, kernel_size=1)
        self.gate = nn.Conv2d(output_shape["res3"].channels, 1, kernel_size=1)

    def step(self, frame, state):
        past = torch.zeros_like(frame.cells) if state is None else state.cells
        gate = nn.functional.interpolate(self.gate(frame.levels[0]), size=past.shape[2:])
        return frame.cells + self.mix(past) * gate, Memory(0.6 * past + 0.4 * frame.cells)


@TEMPORAL_REGISTRY.register()
class OneStep(WindowedModule):
    """Has one step where there should be two."""

    def __init__(self, cfg, embedding_channels, output_shape):
        super().__init__()


@pytest.fixture(params=["MeanOfPast", "RunningMean"])
def cfg(request, tiny_cffm_cfg, tmp_path):
    tiny_cffm_cfg.MODEL.TEMPORAL.NAME = request.param
    tiny_cffm_cfg.MODEL.TEMPORAL.FRAME_OFFSETS = (-4, -2)
    tiny_cffm_cfg.SOLVER.MAX_ITER = 2
    tiny_cffm_cfg.SOLVER.WARMUP_ITERS = 0
    tiny_cffm_cfg.SOLVER.BASE_LR = 0.01
    tiny_cffm_cfg.OUTPUT_DIR = str(tmp_path / "output")
    return tiny_cffm_cfg


def video_frames(count=8, size=(48, 64)):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), generator=generator).float() for _ in range(count)]


def test_it_trains_saves_loads_and_evaluates(cfg):
    trainer = CFFMTrainer(cfg)
    before = trainer.model.temporal.module.mix.weight.detach().clone()
    trainer.train()
    assert not torch.equal(trainer.model.temporal.module.mix.weight, before)
    loaded = build_model(cfg)
    SegmentorCheckpointer(loaded, require_all=True).load(f"{cfg.OUTPUT_DIR}/model_final.pth")
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name
    streamed = CFFMTrainer.test(cfg, loaded)
    assert 0 <= streamed["sem_seg"]["mIoU"] <= 100
    cfg.TEST.STREAMING = False
    as_clips = CFFMTrainer.test(cfg, loaded)
    if cfg.MODEL.TEMPORAL.NAME == "MeanOfPast":  # the other starts every clip anew
        assert repr(as_clips) == repr(streamed)


def test_a_stream_equals_clips(cfg):
    model = build_model(cfg).eval()
    frames = video_frames()
    stream = StreamingSegmentor(model, frame_offsets=(-4, -2))
    for t, frame in enumerate(frames):
        streamed = stream.step(frame, output="logits", channel_order=model.image_format)
        references = [t - 4, t - 2] if t >= 4 else [0, -(-t // 2)] if t >= 2 else []
        if cfg.MODEL.TEMPORAL.NAME == "RunningMean":
            references = list(range(t))
        with torch.no_grad():
            (clip,) = model([{"image": [frames[i] for i in (*references, t)]}])
        assert torch.equal(streamed, clip["sem_seg"]), t


def test_it_exports(cfg, tmp_path):
    model = build_model(cfg).eval()
    for parameter in model.temporal.parameters():  # so that the past matters
        nn.init.normal_(parameter, std=0.2)
    segmentor = StreamingSegmentor(model, frame_offsets=(-4, -2))
    folder = tmp_path / "exported"
    export_stream(model, StreamSpec(frame_offsets=(-4, -2)), folder, (48, 64))
    manifest = onnx_runner.read_manifest(folder)
    for graphs in (onnx_runner.load_graphs(folder, manifest), load_programs(folder)):
        stream = onnx_runner.Stream(manifest, graphs)
        agreement = compare(segmentor, stream, random_frames((48, 64), 8))
        assert agreement.logits <= 1e-4


def test_what_is_no_temporal_module_is_told_what_one_offers(cfg):
    cfg.MODEL.TEMPORAL.NAME = "OneStep"
    with pytest.raises(ValueError, match=r"OneStep lacks assemble, mine"):
        build_model(cfg)
    cfg.MODEL.TEMPORAL.NAME = "Mean0fPast"
    with pytest.raises(ValueError, match=r"MODEL\.TEMPORAL\.NAME is Mean0fPast.*MeanOfPast"):
        build_model(cfg)


def test_offsets_of_another_number_than_its_references_are_an_error(cfg):
    cfg.MODEL.TEMPORAL.NAME, cfg.MODEL.TEMPORAL.FRAME_OFFSETS = "MeanOfPast", (-9, -6, -3)
    with pytest.raises(ValueError, match=r"MeanOfPast takes 2.*FRAME_OFFSETS"):
        build_model(cfg)
