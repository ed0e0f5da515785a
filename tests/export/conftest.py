"""Tiny streams, exported once for all tests."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_models import NUM_CLASSES, PIXELS, make_parts

from cffm_plugin import CFFM
from cffm_plugin.core import MRCFA, TV3S, CFFMRecall, RecurrentModule
from cffm_plugin.export import StreamSpec, export_stream
from cffm_plugin.export.onnx_runner import Stream, load_graphs, read_manifest
from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.modeling import (
    CFFMSegmentor,
    PrototypeBranch,
    SegFormerHead,
    TemporalHead,
    TimmBackbone,
)

OFFSETS = (-9, -6, -3)
LEVEL_CHANNELS = 64  # of the tiny MiT's res4
SIZES = {  # of the graphs' frames
    "mit": (64, 96),
    "timm": (65, 97),
    "plus": (67, 99),  # CFFM++
    "refine": (66, 98),
    "recall": (66, 98),  # refine, with CFFMRecall
    "mrcfa": (66, 98),
    "recurrent": (66, 98),
    "tv3s": (66, 98),
    "image": (50, 70),  # without a temporal module; SemSegFPNHead: padded to 64x96
}
OUTPUTS = {"refine": "refine", "recall": "refine", "mrcfa": "refined"}
DEPTHS = {"mit": 2, "timm": 1, "plus": 2, "refine": 1, "recall": 1}  # of CFFM


@dataclass(frozen=True)
class Exported:
    """A model and the folder with its graphs.

    Attributes:
        segmentor: the model as a stream.
        folder: of the graphs.
        size: (height, width) of frames.
        prototypes: (P, dim) for CFFM++, else None.
    """

    segmentor: StreamingSegmentor
    folder: Path
    size: tuple[int, int]
    prototypes: torch.Tensor | None


@dataclass(frozen=True)
class Memory:
    """A running mean of the cells, and of the image's brightness, both (N, C, h, w)."""

    cells: torch.Tensor
    brightness: torch.Tensor


class RunningMean(RecurrentModule):
    """Mixes the cells with means of the frames before, with a level of the backbone and the image;
    a video's start is what means of zero are."""

    dim, levels, takes_image = 32, ("res4",), True

    def __init__(self, first=0.0):
        super().__init__()
        self.mix = torch.nn.Conv2d(32 + 1 + LEVEL_CHANNELS, 32, kernel_size=1)
        self.first = first

    def step(self, frame, state):
        cells, size = frame.cells, frame.cells.shape[2:]
        if state is None:
            state = Memory(torch.zeros_like(cells) + self.first, torch.zeros_like(cells[:, :1]))
        brightness = torch.nn.functional.interpolate(frame.image.mean(1, keepdim=True), size=size)
        level = torch.nn.functional.interpolate(frame.levels[0], size=size)
        brightness = 0.5 * state.brightness + 0.5 * brightness
        refined = cells + self.mix(torch.cat([state.cells, brightness, level], dim=1))
        return refined, Memory(0.6 * state.cells + 0.4 * cells, brightness)


def make_model(kind):
    if kind == "timm":
        torch.manual_seed(0)
        backbone = TimmBackbone("test_resnet")
        head = SegFormerHead(
            backbone.output_shape(), num_classes=NUM_CLASSES, embedding_channels=32, norm="BN"
        )
        parts = {"backbone": backbone, "sem_seg_head": head, **PIXELS}
    else:
        parts = make_parts("fpn" if kind == "image" else "segformer")
    if kind == "image":
        return CFFMSegmentor(**parts).eval()
    if kind == "recurrent":
        module = RunningMean()
    elif kind == "mrcfa":
        module = MRCFA.build(32, parts["backbone"].output_shape())
    elif kind == "tv3s":
        module = TV3S.build(32, {}, mode="stream", depth=2, window_size=6, shift=3, num_states=4)
    else:
        module = (CFFMRecall if kind == "recall" else CFFM)(32, DEPTHS[kind], num_heads=4)
    temporal = TemporalHead(module, num_classes=NUM_CLASSES, output=OUTPUTS.get(kind, "classifier"))
    for parameter in temporal.parameters():  # so that the past matters
        torch.nn.init.normal_(parameter, std=0.2)
    branch = PrototypeBranch(32, num_classes=NUM_CLASSES, num_heads=4)
    return CFFMSegmentor(
        **parts, temporal=temporal, prototype_branch=branch if kind == "plus" else None
    ).eval()


@pytest.fixture(autouse=True)
def one_thread():
    """Models are so small that two threads would mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """``exported(kind)`` -> Exported, for one of SIZES."""
    made = {}

    def export(kind):
        if kind not in made:
            model = make_model(kind)
            folder = tmp_path_factory.mktemp(kind)
            offsets = () if kind == "image" else OFFSETS
            spec = StreamSpec(frame_offsets=offsets, class_names=("class",) * NUM_CLASSES)
            export_stream(
                model,
                spec,
                folder,
                SIZES[kind],
                formats=("onnx", "torch_export") if kind == "mit" else ("onnx",),
                full_resolution=kind == "mit",
            )
            prototypes = None
            if kind == "plus":  # not as many as in the example that was exported
                prototypes = torch.randn(7, 32, generator=torch.Generator().manual_seed(0))
            made[kind] = Exported(
                StreamingSegmentor(model, frame_offsets=OFFSETS), folder, SIZES[kind], prototypes
            )
        return made[kind]

    return export


@pytest.fixture
def onnx_stream(exported):
    """``onnx_stream(kind)`` -> the runner's Stream."""

    def make(kind):
        folder = exported(kind).folder
        manifest = read_manifest(folder)
        return Stream(manifest, load_graphs(folder, manifest))

    return make
