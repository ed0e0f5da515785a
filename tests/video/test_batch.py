"""Many videos at once: each as it would be alone, whole or not there, and gone on with."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from PIL import Image

from cffm_plugin.cli.segment_videos import main
from cffm_plugin.data import read_image
from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.video.batch import BatchSink, BatchVideo, segment_videos
from cffm_plugin.video.jobs import plan_batch
from cffm_plugin.video.reading import SourceFrame, VideoFile
from cffm_plugin.video.writing import VideoWriter


class Frames:
    """Frames of noise; where ``fails_at`` is given, an error in place of one."""

    rate, files = Fraction(25), ()

    def __init__(self, seed, count, fails_at=None, size=(48, 64)):
        self.seed, self.num_frames, self.fails_at, self.size = seed, count, fails_at, size

    def __iter__(self):
        draw = np.random.default_rng(self.seed)
        for index in range(self.num_frames):
            if index == self.fails_at:
                raise ValueError(f"frame {index} is damaged")
            image = draw.integers(0, 256, (*self.size, 3), dtype=np.uint8)
            yield SourceFrame(f"{index:08d}", image, index / 25)


class Kept(BatchSink):
    def __init__(self):
        self.labels, self.end = [], ""

    def write(self, frame, labels):
        self.labels.append((frame.name, labels))

    def close(self):
        self.end = "closed"

    def abandon(self):
        self.end = "abandoned"


@pytest.fixture
def segmentor(tiny_cffm_cfg):
    torch.manual_seed(0)
    model = build_model(tiny_cffm_cfg)
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone"):
            torch.nn.init.normal_(parameter, std=0.3)
    return StreamingSegmentor(tiny_cffm_cfg, model=model)


def videos_of(sources):
    sinks = {name: Kept() for name in sources}
    videos = [
        BatchVideo(name, lambda n=name, s=source: (s, sinks[n])) for name, source in sources.items()
    ]
    return videos, sinks


@pytest.mark.parametrize("streams", [1, 2, 5])
def test_every_video_gets_the_label_maps_that_it_gets_alone(segmentor, streams):
    lengths = {"a": 9, "b": 3, "c": 12, "d": 1}
    sources = {name: Frames(seed, lengths[name]) for seed, name in enumerate(lengths)}
    sources["other size"] = Frames(9, 5, size=(64, 64))
    videos, sinks = videos_of(sources)
    counted = []
    result = segment_videos(segmentor, videos, streams=streams, progress=counted.append)
    assert sorted(result.done) == sorted(sources) and not result.failed
    assert result.num_frames == sum(counted) == sum(s.num_frames for s in sources.values())
    for name, source in sources.items():
        segmentor.reset()
        alone = [(f.name, segmentor.step(f.image, channel_order="BGR").numpy()) for f in source]
        assert sinks[name].end == "closed"
        assert [frame for frame, _ in sinks[name].labels] == [frame for frame, _ in alone]
        for (_, ours), (_, theirs) in zip(sinks[name].labels, alone):
            if streams == 1:
                assert np.array_equal(ours, theirs)
            else:  # larger batches round otherwise
                assert (ours == theirs).mean() > 0.999


def test_a_video_that_fails_is_abandoned_and_the_others_are_not(segmentor):
    sources = {"good": Frames(0, 6), "bad": Frames(1, 6, fails_at=3), "later": Frames(2, 4)}
    videos, sinks = videos_of(sources)

    def cannot_be_opened():
        raise FileNotFoundError("no such file")

    videos.insert(1, BatchVideo("missing", cannot_be_opened))
    result = segment_videos(segmentor, videos, streams=2)
    assert sorted(result.done) == ["good", "later"]
    assert result.failed == {"missing": "no such file", "bad": "frame 3 is damaged"}
    assert {name: sink.end for name, sink in sinks.items()} == {
        **{"good": "closed", "bad": "abandoned", "later": "closed"}
    }


def test_a_frame_that_the_model_refuses_ends_its_video_alone(segmentor):
    class Broken(Frames):
        def __iter__(self):
            for frame in super().__iter__():
                is_third = frame.name.endswith("2")
                image = frame.image.astype(np.float32) if is_third else frame.image
                yield SourceFrame(frame.name, image, frame.seconds)

    videos, sinks = videos_of({"broken": Broken(0, 6), "good": Frames(1, 6)})
    result = segment_videos(segmentor, videos, streams=2)
    assert result.done == ["good"] and len(sinks["good"].labels) == 6
    assert list(result.failed) == ["broken"] and sinks["broken"].end == "abandoned"


def test_when_it_is_stopped_no_video_under_way_becomes_whole(segmentor):
    videos, sinks = videos_of({"a": Frames(0, 50), "b": Frames(1, 50)})

    def stop(frames):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_videos(segmentor, videos, streams=2, progress=stop)
    assert {sink.end for sink in sinks.values()} == {"abandoned"}


def test_an_abandoned_video_leaves_what_was_there(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "out.mp4"
    path.write_bytes(b"before")
    writer = VideoWriter(path, Fraction(25))
    for frame in Frames(0, 3):
        writer.write(frame, frame.image)
    writer.abandon()
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def folder_of(path, names):
    path.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (8, 8)).save(path / name)
    return path


def test_videos_are_found_in_files_folders_folders_of_folders_and_lists(tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("b10.mp4", "b9.mp4", "notes.md"):
        (clips / name).touch()
    walk = folder_of(tmp_path / "walk", ["1.png", "2.png"])
    folder_of(tmp_path / "many" / "x", ["1.jpg"])
    folder_of(tmp_path / "many" / "y", ["1.jpg"])
    (tmp_path / "list.txt").write_text("clips/b9.mp4\n\nwalk\n")

    def found(*inputs):
        jobs = plan_batch([str(tmp_path / i) for i in inputs], "out", "masks")
        return [(Path(j.video).name, j.output, j.masks) for j in jobs]

    b9, b10 = (
        ("b9.mp4", "out/b9.mp4", "masks/b9"),
        ("b10.mp4", "out/b10.mp4", "masks/b10"),
    )
    assert found("clips") == [b9, b10]
    assert found("walk") == [("walk", "out/walk.mp4", "masks/walk")]
    assert [name for name, _, _ in found("many")] == ["x", "y"]
    assert found("list.txt") == [b9, ("walk", "out/walk.mp4", "masks/walk")]
    with pytest.raises(ValueError, match="same name: walk"):
        found("walk", "list.txt")
    (tmp_path / "list.txt").write_text("clips/b9.mp4\nclips/b8.mp4\n")
    with pytest.raises(FileNotFoundError, match=r"list\.txt, line 2: .*b8\.mp4"):
        found("list.txt")
    assert str(walk) == plan_batch([str(walk)], None, "masks")[0].video
    with pytest.raises(FileNotFoundError, match="no videos .* and no images"):
        plan_batch([str(folder_of(tmp_path / "empty", []))], None, "masks")


@pytest.fixture
def tool(tiny_cffm_cfg, tmp_path, monkeypatch):
    """Call the command in this process; its exit code, or the error it ends with."""
    torch.manual_seed(0)
    weights = tmp_path / "weights.pth"
    torch.save({"model": build_model(tiny_cffm_cfg).state_dict()}, weights)
    (tmp_path / "config.yaml").write_text(tiny_cffm_cfg.dump())
    monkeypatch.setattr("cffm_plugin.cli.work.segment_videos.log_to_terminal", lambda: None)

    def call(*arguments, keys=()):
        words = ["--config-file", tmp_path / "config.yaml", *arguments]
        words += ["MODEL.WEIGHTS", weights, *keys]
        try:
            return main([str(word) for word in words])
        except SystemExit as exit_:
            return exit_.code

    return call


def test_the_tool_writes_whole_videos_goes_on_where_it_was_and_keeps_to_its_settings(
    tool, tiny_vspw, tmp_path, capsys
):
    pytest.importorskip("av")
    frames = tiny_vspw.root / "data" / "v0" / "origin"
    videos = tmp_path / "videos"
    videos.mkdir()
    writer = VideoWriter(videos / "street.mp4", Fraction(25))
    for index, file in enumerate(sorted(frames.iterdir())[:6]):
        picture = cv2.cvtColor(read_image(file), cv2.COLOR_BGR2RGB)
        writer.write(SourceFrame(str(index), picture, 0.0), picture)
    writer.close()
    (videos / "broken.mp4").write_bytes(b"this is no video")
    masks, output = tmp_path / "masks", tmp_path / "painted"
    arguments = ("--input", videos, frames, "--masks", masks, "--output", output)

    assert tool(*arguments) == 1
    said = capsys.readouterr()
    assert "2 videos, " in said.out and "broken.mp4" in said.err
    assert sorted(file.name for file in masks.iterdir()) == ["origin", "settings.json", "street"]
    assert len(list((masks / "street").iterdir())) == 6
    assert len(list(VideoFile(output / "street.mp4"))) == 6
    assert {file.name for file in (masks / "origin").iterdir()} == {
        f"{file.stem}.png" for file in frames.iterdir()
    }

    (videos / "broken.mp4").unlink()
    (masks / "street" / "00000000.png").unlink()  # what is done is not looked into again
    assert tool(*arguments) == 0
    assert "2 of 2 videos are there already" in capsys.readouterr().out
    assert len(list((masks / "street").iterdir())) == 5

    assert "TEST.SMOOTHING: 0.0 there, 0.5 now" in tool(*arguments, keys=("TEST.SMOOTHING", 0.5))
