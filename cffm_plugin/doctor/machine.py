"""Whether this machine computes, reads and connects as the package expects."""

import importlib.metadata
import os
import platform
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core import CFFM
from ..core.half_maps import maps_that_are_off
from ..modeling import CFFMSegmentor, MiT, SegFormerHead, TemporalHead, all_finite
from ..modeling.backbone import MIT_VARIANTS
from ..video.decoding import import_av
from ..video.reading import VideoFile

SHOWN = 3  # maps that are off
LIBRARIES = (
    "cffm-plugin",
    "torch",
    "torchvision",
    "numpy",
    "opencv-python-headless",
    "av",
    "timm",
    "openvino",
)
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16")

# Colours, and the same as BT.709 in limited range (ITU-R BT.709, item 3): luma and two chromas.
COLORS = {
    (255, 0, 0): (63, 102, 240),
    (0, 255, 0): (173, 42, 26),
    (0, 0, 255): (32, 240, 118),
    (255, 255, 255): (235, 128, 128),
}
BAR = 32  # pixels that a bar of one colour is wide
BAR_FRAMES = 4
COLOR_TOLERANCE = 6  # of 255


@dataclass(frozen=True)
class MachineLine:
    """What was tried, whether it is as it should be, and the particulars."""

    name: str
    is_right: bool
    text: str


def check_machine() -> Iterator[MachineLine]:
    """Try versions, instruction sets, half precision, ports, video and training, one by one.

    It takes seconds, writes nothing but a temporary file, and never raises: an error is what a line
    says.
    """
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    checks: list[tuple[str, Callable[[], tuple[bool, str]]]] = [
        ("versions", versions),
        ("processor", processor),
        *(
            (f"{name} on {device}", lambda d=device, n=name: half_precision(d, n))
            for device in devices
            for name in ("bfloat16", "float16")
        ),
        ("ports", ports),
        ("video", video),
        *((f"training on {device}", lambda d=device: training_step(d)) for device in devices),
    ]
    for name, check in checks:
        try:
            yield MachineLine(name, *check())
        except Exception as error:  # of any library that it tries
            yield MachineLine(name, False, f"{type(error).__name__}: {error}")


def versions() -> tuple[bool, str]:
    """Of this package and of what it computes and reads with."""
    own = sys.modules["cffm_plugin"].__version__
    found = [f"cffm-plugin {own}", f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    onednn = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
    if onednn:
        found.append(f"oneDNN {onednn[1]} in torch")
    return True, ", ".join(found)


def processor() -> tuple[bool, str]:
    """Its name and the instruction sets that choose between kernels."""
    name, flags = platform.processor() or platform.machine(), ""
    if Path("/proc/cpuinfo").is_file():
        info = Path("/proc/cpuinfo").read_text(errors="replace")
        found = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
        name = found[1] if found else name
        flags = info
    sets = [word for word in INSTRUCTIONS if re.search(rf"\b{word}\b", flags)]
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    limited = f"; ONEDNN_MAX_CPU_ISA={limit}" if limit else ""
    return True, (
        f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads: "
        f"{' '.join(sets) or 'no vector instructions known'}; torch takes "
        f"{torch.backends.cpu.get_cpu_capability()}{limited}"
    )


def typical_maps() -> dict[str, nn.Module]:
    """Convolutions and linear maps as MiT, ViTs and convolutional backbones have them."""
    found: list[nn.Module] = [
        nn.Conv2d(3, 32, 7, 4, 3),
        nn.Conv2d(3, 64, 7, 2, 3),
        nn.Conv2d(3, 96, 4, 4),
        nn.Conv2d(3, 64, 14, 14),
        nn.Conv2d(3, 64, 16, 16),
        nn.ConvTranspose2d(64, 32, 2, 2),
        nn.ConvTranspose2d(32, 32, 4, 2, 1),
        nn.Conv3d(8, 16, 3, padding=1),
    ]
    for side in (2, 4, 8, 12, 16):  # spatial reduction
        found += [nn.Conv2d(width, width, side, side) for width in (4, 8, 12, 16, 24, 32, 64)]
    for width in (16, 64, 160, 256):
        found += [
            nn.Conv2d(width, 2 * width, 3, 2, 1),
            nn.Conv2d(width, width, 3, padding=1),
            nn.Conv2d(width, width, 3, padding=6, dilation=6),
            nn.Conv2d(width, width, 3, padding=1, groups=8),
            nn.Conv2d(4 * width, width, 1),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            nn.Linear(width, 3 * width),
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        ]
    return {f"{module}": module for module in found}


def half_precision(device: str, name: str) -> tuple[bool, str]:
    """Typical maps beside float32, as streams (cast) and training (autocast, backward) run them.

    Training in float16 is CUDA's alone.
    """
    dtype = getattr(torch, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        maps = {key: module.to(device) for key, module in typical_maps().items()}
    trains = dtype is torch.bfloat16 or device != "cpu"
    off = maps_that_are_off(maps, dtype, autocast=True, backward=trains)
    ways = "forward and backward" if trains else "forward"
    if not off:
        return True, f"{len(maps)} convolutions and linear maps are as in float32, {ways}"
    named = [f"{key} ({excess:.3g} times)" for key, excess in list(off.items())[:SHOWN]]
    more = f" and {len(off) - SHOWN} more" if len(off) > SHOWN else ""
    return False, (
        f"{len(off)} of {len(maps)} convolutions and linear maps differ from float32 by more than "
        f"rounding explains: {', '.join(named)}{more}. Models keep such in float32, which is slower"
    )


def ports() -> tuple[bool, str]:
    """Whether processes of one machine can find each other; detectron2 takes one port for all."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        free.listen()
        port = free.getsockname()[1]
        with closing(socket.create_connection(("127.0.0.1", port), timeout=5)):
            pass
    user = os.getuid() if sys.platform != "win32" else 1
    usual = 2**15 + 2**14 + hash(user) % 2**14  # as detectron2.engine.default_argument_parser
    with closing(socket.socket()) as default:
        taken = default.connect_ex(("127.0.0.1", usual)) == 0
    state = "taken by another program" if taken else "free"
    return (
        True,
        f"free ones can be had, such as {port}; detectron2's for this user, {usual}: {state}",
    )


def write_color_bars(path: Path) -> None:
    """A clip of bars in ``COLORS``, which move on by one bar with every frame; H.264 of BT.709."""
    av = import_av()
    planes = np.array(list(COLORS.values()), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = BAR * len(COLORS), BAR, "yuv420p"
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
        context.color_range = 1  # limited
        for index in range(BAR_FRAMES):
            luma, *chromas = np.roll(planes, index, axis=0).T
            rows = [np.tile(luma.repeat(BAR), (BAR, 1))]
            # A chroma plane has half of the height and width; two of its rows are one of the array.
            rows += [np.tile(c.repeat(BAR // 2), (BAR // 4, 2)) for c in chromas]
            frame = av.VideoFrame.from_ndarray(np.concatenate(rows), format="yuv420p")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def video() -> tuple[bool, str]:
    """A clip of known colours, as videos are read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.mp4"
        write_color_bars(path)
        frames = [frame.image[:, :, ::-1].astype(int) for frame in VideoFile(path)]
    colors = np.array(list(COLORS))
    worst = 0
    for index, frame in enumerate(frames):
        middles = frame[BAR // 2, BAR // 2 :: BAR]
        worst = max(worst, int(np.abs(middles - np.roll(colors, index, axis=0)).max()))
    if len(frames) != BAR_FRAMES:
        return False, f"of a clip of {BAR_FRAMES} frames {len(frames)} were read"
    told = f"colours of a clip of H.264 in BT.709 are off by {worst} of 255 at most"
    return worst <= COLOR_TOLERANCE, told


def training_step(device: str) -> tuple[bool, str]:
    """A step of a tiny CFFM on a random clip: loss and gradients are finite, and it learns."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = MiT(MIT_VARIANTS["mit_tiny"], drop_path_rate=0.0)
        head = SegFormerHead(
            backbone.output_shape(), num_classes=4, embedding_channels=32, dropout=0.0
        )
        temporal = TemporalHead(CFFM(32, 1, num_heads=4), num_classes=4, dropout=0.0)
        pixels = {"pixel_mean": [120.0] * 3, "pixel_std": [60.0] * 3}
        model = CFFMSegmentor(backbone=backbone, sem_seg_head=head, temporal=temporal, **pixels)
        images = [torch.randint(0, 256, (3, 32, 48)) for _ in range(4)]
    model.to(device).train()
    clip = {"image": images, "sem_seg": [(image[0] // 64).to(device) for image in images]}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(4):
        total: Any = sum(model([clip]).values())
        optimizer.zero_grad()
        total.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if not all_finite(total.detach(), *gradients):
            return False, f"loss or gradients are not finite (loss {float(total.detach()):g})"
        optimizer.step()
        totals.append(float(total.detach()))
    learns = totals[-1] < totals[0]
    return learns, f"the loss of a tiny CFFM goes from {totals[0]:.3f} to {totals[-1]:.3f}"
