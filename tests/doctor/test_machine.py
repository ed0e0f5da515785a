"""``cffm check --machine``: a line for each thing, and what is wrong is told."""

import socket

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cffm_plugin.cli import check
from cffm_plugin.doctor import machine
from cffm_plugin.doctor.machine import MachineLine, check_machine
from cffm_plugin.video.reading import VideoFile


@pytest.fixture
def few_maps(monkeypatch):
    """One convolution that is right on every device, since it computes in float32."""

    class Exact(nn.Conv2d):
        def forward(self, x):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())

    monkeypatch.setattr(machine, "typical_maps", lambda: {"a map": Exact(4, 4, 2, 2)})


def test_a_sound_machine_is_told_on_one_screen_with_exit_code_0(few_maps, capsys):
    assert check.main(["--machine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 24
    names = ("versions", "processor", "bfloat16 on cpu", "float16 on cpu", "ports", "video")
    for name in (*names, "training on cpu"):
        assert any(line.startswith("ok") and name in line for line in lines), name
    assert any(f"torch {torch.__version__.split('+')[0]}" in line for line in lines)
    assert "Nothing amiss" in lines[-1]


def test_a_map_that_is_wrong_in_half_precision_is_named_and_the_exit_code_is_1(monkeypatch, capsys):
    convolve = F.conv2d

    def wrong(*arguments, **named):
        output = convolve(*arguments, **named)
        return output.roll(1, -1) if output.dtype == torch.bfloat16 else output

    monkeypatch.setattr(F, "conv2d", wrong)
    monkeypatch.setattr(machine, "typical_maps", lambda: {"a map": nn.Conv2d(4, 4, 2, 2)})
    assert check.main(["--machine"]) == 1
    printed = capsys.readouterr().out
    (line,) = [
        line for line in printed.splitlines() if "bfloat16 on cpu" in line and "Wrong" not in line
    ]
    assert line.startswith("WRONG")
    assert "1 of 1 convolutions and linear maps differ from float32" in line
    assert "a map (" in line
    assert printed.splitlines()[-1].startswith("Wrong: bfloat16 on cpu")


def test_what_raises_is_a_wrong_line_and_the_others_are_tried(few_maps, monkeypatch):
    def no_network(*_, **__):
        raise OSError("Operation not permitted")

    monkeypatch.setattr(socket, "create_connection", no_network)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    lines = {line.name: line for line in check_machine()}
    assert lines["ports"] == MachineLine("ports", False, "OSError: Operation not permitted")
    assert lines["training on cpu"].is_right
    assert torch.equal(torch.rand(2), expected)  # random numbers go on as if it had not been


def test_a_reader_that_swaps_channels_is_wrong(monkeypatch):
    read = VideoFile.__iter__

    def swapped(self):
        for frame in read(self):
            yield type(frame)(frame.name, frame.image[:, :, ::-1], frame.seconds)

    assert machine.video()[0]
    monkeypatch.setattr(VideoFile, "__iter__", swapped)
    is_right, text = machine.video()
    assert not is_right
    assert "off by 25" in text  # 255, but for rounding


def test_a_loss_that_is_not_finite_is_wrong(monkeypatch):
    embed = machine.SegFormerHead.embed

    def infinite(self, features):
        embedding, context = embed(self, features)
        return embedding / 0.0, context

    monkeypatch.setattr(machine.SegFormerHead, "embed", infinite)
    is_right, text = machine.training_step("cpu")
    assert not is_right
    assert "not finite" in text


def test_maps_of_other_backbones_are_among_those_that_are_tried():
    maps = machine.typical_maps().values()
    assert {type(module) for module in maps} >= {nn.Conv2d, nn.Linear, nn.ConvTranspose2d}
    reductions = {m.kernel_size for m in maps if isinstance(m, nn.Conv2d) and m.stride[0] > 4}
    assert {(8, 8), (12, 12), (16, 16)} <= reductions
