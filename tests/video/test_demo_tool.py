"""cffm demo as a person calls it."""

import json
import logging
import os
import signal
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from PIL import Image
from tiny_dataset import TINY_COLORS
from warm_process import WarmProcess

from cffm_plugin.checkpoint import (
    INFO_KEY,
    ModelInfo,
    SegmentorCheckpointer,
    load_stored_config,
    read_model_info,
)
from cffm_plugin.cli import convert
from cffm_plugin.cli import demo as demo_command
from cffm_plugin.data import names_and_colors, read_image
from cffm_plugin.data.datasets.vspw_classes import voc_colors
from cffm_plugin.inference import StreamingSegmentor, dataset_classes
from cffm_plugin.video.reading import SourceFrame, VideoFile
from cffm_plugin.video.writing import VideoWriter

ROOT = Path(__file__).parents[2]
COMMAND = ("-m", "cffm_command", "demo")
RATE = Fraction(30000, 1001)


@pytest.fixture
def cfg(tiny_cffm_cfg, tmp_path):
    """A tiny CFFM whose predictions vary, with its weights in a file."""
    return with_weights(tiny_cffm_cfg, tmp_path)


def with_weights(cfg, folder):
    torch.manual_seed(0)
    model = build_model(cfg)
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone"):
            torch.nn.init.normal_(parameter, std=0.3)
    cfg.MODEL.WEIGHTS = str(folder / "weights.pth")
    torch.save({"model": model.state_dict()}, cfg.MODEL.WEIGHTS)
    (folder / "config.yaml").write_text(cfg.dump())
    return cfg


@pytest.fixture
def demo(cfg, tmp_path, monkeypatch):
    """Call cffm demo in this process; gives its exit code, or the error it ends with."""
    monkeypatch.setattr("cffm_plugin.cli.work.demo.log_to_terminal", lambda: None)

    def call(*arguments):
        words = ["--config-file", tmp_path / "config.yaml", *arguments]
        with pytest.raises(SystemExit) as exit_:
            raise SystemExit(demo_command.main([str(word) for word in words]))
        return exit_.value.code

    return call


@pytest.fixture
def frames(tiny_vspw):
    """The folder with the 12 frames of a video, 64x48."""
    return tiny_vspw.root / "data" / "v0" / "origin"


def write_video(path, frames, size=(64, 48)):
    writer = VideoWriter(path, RATE)
    for index, file in enumerate(sorted(frames.iterdir())):
        picture = cv2.cvtColor(cv2.resize(read_image(file), size), cv2.COLOR_BGR2RGB)
        writer.write(SourceFrame(str(index), picture, 0.0), picture)
    writer.close()
    return path


def decoded(path):
    video = VideoFile(path)
    return video.rate, [frame.image for frame in video]


def label_maps(folder):
    return {file.stem: np.array(Image.open(file)) for file in sorted(folder.iterdir())}


def test_a_video_is_segmented_frame_by_frame_as_a_stream(demo, cfg, frames, tmp_path, capsys):
    source = write_video(tmp_path / "in.mp4", frames)
    out, masks = tmp_path / "out.mp4", tmp_path / "masks"
    files = ("--video-input", source, "--output", out, "--masks", masks)
    assert demo(*files, "--legend", "off") == 0
    rate, pictures = decoded(out)
    assert rate == RATE
    assert [picture.shape for picture in pictures] == [(48, 64, 3)] * 12
    segmentor, written = StreamingSegmentor(cfg), label_maps(masks)
    assert list(written) == [f"{index:08d}" for index in range(12)]
    for frame, labels in zip(VideoFile(source), written.values()):
        assert np.array_equal(segmentor.step(frame.image, channel_order="BGR").numpy(), labels)
    assert len(np.unique(list(written.values()))) > 1
    last_line = capsys.readouterr().err.strip().splitlines()[-1]
    assert last_line.startswith("Done: 12 frames") and str(out) in last_line


def test_images_become_a_video_and_masks_have_their_names_and_palette(demo, cfg, frames, tmp_path):
    out, masks = tmp_path / "out.mkv", tmp_path / "masks"
    for extra, rate in [((), 10), (("--fps", "30000/1001"), RATE)]:
        assert demo("--input", frames, "--output", out, "--masks", masks, *extra) == 0
        assert decoded(out)[0] == rate and len(decoded(out)[1]) == 12
    segmentor = StreamingSegmentor(cfg)
    for file in sorted(frames.iterdir()):
        image = Image.open(masks / f"{file.stem}.png")
        assert np.array_equal(
            np.array(image), segmentor.step(read_image(file), channel_order="BGR").numpy()
        )
        assert image.getpalette()[:12] == [channel for color in TINY_COLORS for channel in color]


def test_side_by_side_frames_stand_left_of_their_painted_copies(demo, frames, tmp_path):
    out = tmp_path / "pictures"
    flags = ("--side-by-side", "--opacity", "1", "--legend", "over")
    assert demo("--input", frames, "--output", out, *flags) == 0
    for file in frames.iterdir():
        picture = np.array(Image.open(out / f"{file.stem}.png"))
        assert picture.shape == (48, 128, 3)
        assert np.array_equal(picture[:, :64], read_image(file)[:, :, ::-1])
        # At the top, above the legend, every pixel has the colour of a class.
        assert set(map(tuple, picture[0, 64:])) <= set(TINY_COLORS)


def test_with_masks_alone_nothing_else_is_written(demo, frames, tmp_path):
    before = set(tmp_path.iterdir())
    assert demo("--input", frames, "--masks", tmp_path / "masks") == 0
    assert set(tmp_path.iterdir()) - before == {tmp_path / "masks"}


def test_cffm_plus_takes_the_prototypes_of_the_video(demo, cfg, frames, tmp_path):
    cfg.MODEL.TEMPORAL.PROTOTYPES.ENABLED = True
    with_weights(cfg, tmp_path)
    prototypes = torch.randn(5, 16)
    torch.save(prototypes, tmp_path / "v0.pt")
    assert "--prototypes FILE" in demo("--input", frames, "--masks", tmp_path / "masks")
    files = ("--masks", tmp_path / "masks", "--prototypes", tmp_path / "v0.pt")
    assert demo("--input", frames, *files) == 0
    segmentor = StreamingSegmentor(cfg)
    for file, labels in zip(sorted(frames.iterdir()), label_maps(tmp_path / "masks").values()):
        expected = segmentor.step(read_image(file), channel_order="BGR", prototypes=prototypes)
        assert np.array_equal(expected.numpy(), labels)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_playable_file_and_says_how_many_frames_it_has(
    cfg, frames, tmp_path, number, code
):
    many = tmp_path / "many"
    many.mkdir()
    for index in range(3000):
        os.link(frames / "00000003.jpg", many / f"{index}.jpg")
    out, masks = tmp_path / "out.mp4", tmp_path / "masks"
    command = [*COMMAND, "--config-file", tmp_path / "config.yaml", "--input", many]
    process = WarmProcess([*command, "--output", out, "--masks", masks])
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if masks.is_dir() and len(list(masks.iterdir())) >= 5:
            process.send_signal(number)
            break
        time.sleep(0.05)
    errors = process.finish(timeout=300).stderr
    num_frames = len(label_maps(masks))
    assert process.returncode == code, errors[-2000:]
    assert 5 <= num_frames < 3000
    assert errors.splitlines()[-1].startswith(f"Interrupted after {num_frames} frames in {out}")
    assert len(decoded(out)[1]) == num_frames
    assert [file.name for file in tmp_path.glob(".*")] == []


def test_a_killed_demo_leaves_the_video_that_was_there(cfg, frames, tmp_path):
    out = write_video(tmp_path / "out.mp4", frames)
    before = out.read_bytes()
    many = tmp_path / "many"
    many.mkdir()
    for index in range(3000):
        os.link(frames / "00000003.jpg", many / f"{index}.jpg")
    command = [*COMMAND, "--config-file", tmp_path / "config.yaml", "--input", many]
    process = WarmProcess([*command, "--output", out])
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob(".out.*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait(timeout=300)
    assert len(list(tmp_path.glob(".out.*"))) == 1  # it was under way
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--input", "{tmp}/nowhere"], "nowhere: there are no images"),
        (["--video-input", "{tmp}/nowhere.mp4"], "nowhere.mp4: there is no such file"),
        (["--video-input", "{tmp}/config.yaml"], "expected a video, but"),
        (["--input", "{frames}", "--output", "{tmp}/out.avi"], "unknown suffix .avi"),
        (["--input", "{frames}", "--output", "{tmp}/weights.pth/"], "is a file, but a folder"),
        (["--input", "{frames}", "--output", "{frames}"], "is what is read"),
        (["--input", "{frames}", "--masks", "{frames}/../origin"], "is what is read"),
        (["--input", "{frames}", "--output", "{tmp}/a", "--masks", "{tmp}/a"], "a folder each"),
        (["--input", "{frames}", "--masks", "{tmp}/a", "--prototypes", "p.pt"], "are for CFFM++"),
        (["--opts", "MODEL.WEIGHTS", "nowhere.pth"], "There is no checkpoint nowhere.pth"),
        (["--opts", "MODEL.WEIGHTS", ""], "--opts MODEL.WEIGHTS FILE"),
        (["--opts", "MODEL.CFFM.DEPHT", "2"], "Did you mean MODEL.CFFM.DEPTH"),
        (["--opts", "MODEL.META_ARCHITECTURE", "SemanticSegmentor"], "_ARCHITECTURE CFFMSegmentor"),
    ],
)
def test_mistakes_end_in_one_line(demo, frames, tmp_path, arguments, message):
    if arguments[0] == "--opts":
        arguments = ["--input", "{frames}", "--masks", "{tmp}/masks", *arguments]
    elif not {"--output", "--masks"} & set(arguments):
        arguments = [*arguments, "--output", "{tmp}/out.mp4"]
    error = demo(*(word.format(tmp=tmp_path, frames=frames) for word in arguments))
    assert message in error and "\n" not in error
    assert not (tmp_path / "out.mp4").exists()


def test_a_video_is_not_written_over_itself(demo, frames, tmp_path):
    source = write_video(tmp_path / "video.mp4", frames)
    before = source.read_bytes()
    assert "is what is read" in demo("--video-input", source, "--output", source)
    assert source.read_bytes() == before
    assert demo("--video-input", source, "--output", f"{tmp_path}/") == 0  # 00000000.png and on
    assert source.read_bytes() == before and len(list(tmp_path.glob("0*.png"))) == 12


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--input --video-input --webcam is required"),
        (["--webcam", "--input", "x"], "not allowed with"),
        (["--webcam", "--opacity", "1.5"], "1.5 is not in 0..1"),
        (["--webcam", "--fps", "0"], "0 is not a frame rate"),
        (["--webcam", "--fps", "1/0"], "1/0 is not a frame rate"),
    ],
)
def test_arguments_that_do_not_fit_are_named(demo, capsys, arguments, message):
    assert demo(*arguments) == 2
    assert message in capsys.readouterr().err


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def test_an_incomplete_input_ends_in_exit_code_2_and_a_playable_file(
    demo, frames, tmp_path, capsys
):
    source = cut(write_video(tmp_path / "in.mkv", frames))
    out = tmp_path / "out.mp4"
    assert demo("--video-input", source, "--output", out) == 2
    num_frames = len(decoded(out)[1])
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert 0 < num_frames < 12
    assert f"in.mkv: incomplete: {num_frames} frames came of about 12" in said
    assert f"What came is in {out}." in said


def test_several_videos_go_into_a_folder_each_as_a_stream_of_its_own(demo, cfg, frames, tmp_path):
    folder, out, masks = tmp_path / "in", tmp_path / "out", tmp_path / "masks"
    folder.mkdir()
    write_video(folder / "b.mkv", frames)
    write_video(folder / "a.mp4", frames)
    alone = write_video(tmp_path / "c.mov.mp4", frames)
    assert demo("--video-input", folder, alone, "--output", out, "--masks", masks) == 0
    assert sorted(file.name for file in out.iterdir()) == ["a.mp4", "b.mkv", "c.mov.mp4"]
    for name, source in [("b", folder / "b.mkv"), ("c.mov", alone)]:
        segmentor = StreamingSegmentor(cfg)
        for frame, labels in zip(VideoFile(source), label_maps(masks / name).values()):
            assert np.array_equal(segmentor.step(frame.image, channel_order="BGR").numpy(), labels)


def test_a_bad_video_does_not_stop_the_others_and_is_named(demo, frames, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    cut(write_video(folder / "b.mkv", frames))
    write_video(folder / "c.mp4", frames)
    assert demo("--video-input", folder, "--output", out) == 2
    (folder / "a.mp4").write_text("no video")
    capsys.readouterr()
    assert demo("--video-input", folder, "--output", out) == 1
    said = capsys.readouterr().err.strip().splitlines()[-2:]
    assert "a.mp4: expected a video, but" in said[0] and "b.mkv: incomplete" in said[1]
    assert len(decoded(out / "c.mp4")[1]) == 12


def test_mistakes_with_several_videos_are_said_before_anything_starts(demo, frames, tmp_path):
    folder, empty = tmp_path / "in", tmp_path / "empty"
    folder.mkdir(), empty.mkdir()
    write_video(folder / "a.mp4", frames)
    other = write_video(tmp_path / "A.mkv", frames)
    before = set(tmp_path.rglob("*"))
    for arguments, said in [
        ((folder, other, "--output", tmp_path / "out"), "have the same name"),
        ((folder, "--output", folder), "a.mp4 is what is read"),
        ((folder, "--output", tmp_path / "out.mp4"), "several videos go into a folder"),
        ((folder, "--output", other), "several videos go into a folder"),
        ((folder,), "need a folder to go to"),
        ((folder, tmp_path / "none.mp4", "--output", tmp_path / "out"), "there is no such file"),
        ((empty, "--output", tmp_path / "out"), "there are no videos"),
    ]:
        assert said in demo("--video-input", *arguments)
    assert set(tmp_path.rglob("*")) == before


def test_a_refused_connection_is_an_error_of_one_line(demo, tmp_path):
    said = demo("--video-input", "rtsp://127.0.0.1:9/live", "--output", tmp_path / "out.mp4")
    assert said.startswith(
        "rtsp://127.0.0.1:9/live: can't be opened as a video (Connection refused"
    )


@pytest.mark.parametrize("arguments", [("--masks", "{tmp}/m"), ("--output", "{tmp}/o.mp4")])
def test_sound_is_kept_of_video_files_that_become_one(demo, frames, tmp_path, arguments):
    arguments = [word.format(tmp=tmp_path) for word in arguments]
    said = demo("--input", frames, *arguments, "--keep-audio")
    assert "--keep-audio is for a video file" in said
    source = write_video(tmp_path / "in.mp4", frames)  # without sound
    result = demo("--video-input", source, *arguments, "--keep-audio")
    assert result == 0 if "--output" in arguments else "--keep-audio" in result


def test_the_legend_stands_beside_the_picture_over_it_or_nowhere(demo, frames, tmp_path):
    pictures = {}
    for legend in ((), ("--legend", "over"), ("--legend", "off")):
        out = tmp_path / "-".join(("pictures", *legend))
        assert demo("--input", frames, "--output", out, *legend) == 0
        pictures[legend[-1] if legend else "side"] = np.array(Image.open(next(out.glob("*3.png"))))
    assert pictures["off"].shape == pictures["over"].shape == (48, 64, 3)
    assert np.array_equal(pictures["side"][:, :64], pictures["off"])
    assert pictures["side"].shape[1] > 64
    assert not np.array_equal(pictures["over"], pictures["off"])


class TestNamesOfTheCheckpoint:
    """Of a converted Hugging Face model of 7 classes, beside datasets of other numbers."""

    NAMES = ("sea", "sky", "sand", "ship", "gull", "rock", "buoy")

    @pytest.fixture
    def converted(self, tmp_path, monkeypatch, capsys):
        transformers = pytest.importorskip("transformers")
        theirs = transformers.SegformerForSemanticSegmentation(
            transformers.SegformerConfig(
                depths=[2, 2, 2, 2],
                hidden_sizes=[32, 64, 160, 256],
                decoder_hidden_size=32,
                id2label=dict(enumerate(self.NAMES)),
            )
        )
        theirs.save_pretrained(tmp_path / "hub")
        statistics = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
        (tmp_path / "hub" / "preprocessor_config.json").write_text(json.dumps(statistics))
        path = tmp_path / "seven.pth"
        assert convert.main([str(tmp_path / "hub"), str(path)]) == 0
        printed = capsys.readouterr().out
        assert "sea, sky, sand, ship, gull, ..." in printed and "RGB" in printed
        return path

    def test_a_converted_model_shows_its_own_class_names(
        self, demo, converted, frames, tmp_path, monkeypatch, caplog
    ):
        legends = []
        monkeypatch.setattr(
            "cffm_plugin.video.video_demo.add_legend",
            lambda picture, legend: legends.append([name for name, _ in legend]) or picture,
        )
        config = ROOT / "configs" / "vspw" / "segformer_mit_b0.yaml"
        arguments = ["--config-file", config, "--input", frames, "--output", tmp_path / "out"]
        arguments += [
            "--legend",
            "over",
            "--opts",
            "MODEL.WEIGHTS",
            converted,
            "MODEL.DEVICE",
            "cpu",
        ]
        arguments += ["MODEL.SEM_SEG_HEAD.CONVS_DIM", 32, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 7]
        with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
            assert demo(*arguments) == 0
        assert len(legends) == 12
        assert {name for legend in legends for name in legend} <= set(self.NAMES)
        assert caplog.messages == []  # the config's dataset has 124 classes, which does not matter
        with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
            assert demo(*arguments, "INPUT.FORMAT", "BGR") == 0
        assert "57.375, RGB, but the config says mean 123.675" in caplog.text

    def test_names_and_normalisation_are_kept_for_all_that_read_them(self, converted):
        info = read_model_info(converted)
        assert info.class_names == self.NAMES and info.class_colors == ()
        assert info.pixel_mean == (123.675, 116.28, 103.53)
        assert info.pixel_std == (58.395, 57.12, 57.375) and info.image_format == "RGB"

    def test_of_another_number_nobodys_names_are_used_and_the_warning_names_the_numbers(
        self, cfg, converted, caplog
    ):
        cfg.MODEL.WEIGHTS, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = str(converted), 5
        with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
            assert dataset_classes(cfg)[4][0] == "class 4"
        for part in ("NUM_CLASSES is 5", "seven.pth has 7 classes", "has 4 classes"):
            assert part in caplog.text

    def test_a_datasets_colours_are_kept_where_its_names_are_the_same(self, cfg):
        names = ["upper", "lower", "upper box", "lower box"]
        for classes, colors in ((names, list(TINY_COLORS)), ([*names[:3], "x"], voc_colors(4))):
            info = ModelInfo(class_names=tuple(classes)).as_dict()
            torch.save({"model": {}, INFO_KEY: info}, cfg.MODEL.WEIGHTS)
            assert dataset_classes(cfg) == list(zip(classes, colors))


def test_a_checkpoint_that_carries_its_config_needs_no_config_file(
    cfg, demo, frames, tmp_path, monkeypatch
):
    classes = names_and_colors(cfg.DATASETS.TRAIN, 4)
    info = ModelInfo.from_config(cfg, [name.upper() for name in classes[0]], classes[1])
    segmentor = StreamingSegmentor(cfg)
    SegmentorCheckpointer(segmentor.model, str(tmp_path), info=info).save("trained")
    path = tmp_path / "trained.pth"
    masks = tmp_path / "masks"
    assert (
        demo(
            "--config-file",
            "",
            "--input",
            frames,
            "--masks",
            masks,
            "--opts",
            "MODEL.WEIGHTS",
            path,
        )
        == 0
    )
    for file, labels in zip(sorted(frames.iterdir()), label_maps(masks).values()):
        assert np.array_equal(segmentor.step(read_image(file), channel_order="BGR").numpy(), labels)
    names = [name for name, _ in dataset_classes(load_stored_config(["MODEL.WEIGHTS", str(path)]))]
    assert names == ["UPPER", "LOWER", "UPPER BOX", "LOWER BOX"]
    error = demo(
        "--config-file",
        "",
        "--input",
        frames,
        "--masks",
        masks,
        "--opts",
        "MODEL.WEIGHTS",
        cfg.MODEL.WEIGHTS,
    )
    assert "weights.pth carries no config" in error


def test_a_model_that_gives_nan_ends_in_one_line_and_the_frames_before_stay(
    demo, cfg, frames, tmp_path, monkeypatch
):
    seen = []

    def spoil(module, args, output):
        seen.append(1)
        return {k: v * (float("nan") if len(seen) == 5 else 1) for k, v in output.items()}

    forward_hook = torch.nn.modules.module.register_module_forward_hook
    hook = forward_hook(lambda m, a, o: spoil(m, a, o) if type(m).__name__ == "MiT" else None)
    try:
        error = demo("--input", frames, "--output", tmp_path / "out.mp4")
    finally:
        hook.remove()
    assert "frame 4 (counted from 0): what the model makes of it is NaN" in error
    assert "\n" not in error
    assert len(decoded(tmp_path / "out.mp4")[1]) == 4


def test_classes_of_an_unregistered_dataset_have_numbers_and_colours(cfg):
    assert [name for name, _ in dataset_classes(cfg)] == [
        "upper",
        "lower",
        "upper box",
        "lower box",
    ]
    cfg.DATASETS.TEST, cfg.DATASETS.TRAIN = ("somebody_elses",), ()
    classes = dataset_classes(cfg)
    assert [name for name, _ in classes] == [f"class {k}" for k in range(4)]
    assert len({color for _, color in classes}) == 4
