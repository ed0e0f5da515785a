"""The web page's server, without a browser: limits, models, files, messages."""

import json
import os
import re
import urllib.request

import numpy as np
import pytest
from fresh_process import run_without

from cffm_plugin.checkpoint import load_stored_config
from cffm_plugin.cli.web import main, parse_args
from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.video.reading import VideoFile
from cffm_plugin.web.app import served
from cffm_plugin.web.limits import Limits
from cffm_plugin.web.models import Models
from cffm_plugin.web.segmenting import segment

pytest.importorskip("av", reason="PyAV is not installed")

LIMITS = Limits(megabytes=10, seconds=5, pixels=100 * 100)


@pytest.fixture(scope="module")
def models(weights):
    return Models([[str(weights)]])


@pytest.fixture
def ask(models, tmp_path):
    """Give a file to the page's function; gives the answer and what progress was told."""

    def run(file, limits=LIMITS):
        (tmp_path / "results").mkdir(exist_ok=True)
        told = []
        answer = segment(
            *(file, models.names[0], models, limits, tmp_path / "results"),
            lambda count, total: told.append((count, total)),
        )
        return answer, told

    return run


def test_figures_are_the_shares_of_pixels_that_change_their_class(
    ask, weights, make_video, tmp_path
):
    """The image segmentor's as by its own weights alone, the video segmentor's as by a stream."""
    file = make_video(tmp_path / "street.mp4")
    answer, told = ask(file)
    frames = [frame.image for frame in VideoFile(file)]
    shares = {}
    for name, enabled in (("image", "False"), ("video", "True")):
        cfg = load_stored_config(["MODEL.WEIGHTS", str(weights), "MODEL.TEMPORAL.ENABLED", enabled])
        stream = StreamingSegmentor(cfg)
        maps = [stream.step(frame, channel_order="BGR").numpy() for frame in frames]
        shares[name] = 100 * np.mean([(a != b).mean() for a, b in zip(maps, maps[1:])])
    found = dict(re.findall(r"(image|video) segmentor \| ([\d.]+) %", answer.text))
    assert found == {name: f"{share:.2f}" for name, share in shares.items()}
    assert found["image"] != found["video"]
    assert told == [(count, 12) for count in range(1, 13)]


def test_a_longer_video_is_cut_and_the_limit_is_said(ask, make_video, tmp_path):
    answer, told = ask(make_video(tmp_path / "long.mp4"), Limits(10, 0.5, 10_000))
    assert len(list(VideoFile(answer.video))) == 5  # at ten a second
    assert told[-1] == (5, 5)
    assert "Cut after 5 frames" in answer.text and "0.5 seconds" in answer.text
    answer, _ = ask(make_video(tmp_path / "exact.mp4"), Limits(10, 1.2, 10_000))
    assert len(list(VideoFile(answer.video))) == 12 and "Cut" not in answer.text
    answer, _ = ask(make_video(tmp_path / "one.mp4", num_frames=1))
    assert answer.video is not None and "One frame" in answer.text


@pytest.mark.parametrize(
    "limits, said",
    [
        (Limits(10, 5, 48 * 64 - 1), r"64x48 pixels are 3072, and the limit is 3071"),
        (Limits(1e-4, 5, 10_000), r"the limit is 0\.0001 MB"),
    ],
)
def test_what_is_too_large_is_refused_with_the_limit(ask, make_video, tmp_path, limits, said):
    answer, told = ask(make_video(tmp_path / "large.mp4", num_frames=2), limits)
    assert answer.video is None and told == []
    assert re.search(said, answer.text)


def write_sound(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


@pytest.mark.parametrize(
    "write, said",
    [
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_text("hello" * 1000), "expected a video"),
        (write_sound, "no video"),
    ],
    ids=["empty", "text", "sound alone"],
)
def test_a_bad_file_is_named_without_the_servers_paths(ask, tmp_path, write, said):
    file = tmp_path / "mine.mp4"
    write(file)
    answer, _ = ask(file)
    assert answer.video is None
    assert "mine.mp4" in answer.text and said in answer.text
    assert str(tmp_path) not in answer.text


def test_of_a_truncated_video_what_came_is_shown_and_the_rest_missed(ask, make_video, tmp_path):
    file = make_video(tmp_path / "cut.mkv", num_frames=30)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    answer, _ = ask(file)
    assert 0 < len(list(VideoFile(answer.video))) < 30
    assert "damaged or cut off" in answer.text and str(tmp_path) not in answer.text


def test_models_are_named_after_their_files_and_told_apart(weights, tmp_path):
    other = tmp_path / weights.name
    other.write_bytes(weights.read_bytes())
    models = Models([[str(weights)], [str(other)]])
    assert models.names[0] == "tiny" and models.names[1] == str(tmp_path / "tiny")
    assert models.load("tiny") is models.load("tiny")
    assert models.load(models.names[1]).segmentor is not models.load("tiny").segmentor


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--model", "nowhere.pth"], "nowhere.pth"),
        (["--model", "{weights}", "--opts", "MODEL.TEMPORAL.ENABLED", "False"], "image segmentor"),
        (["--model", "{weights}", "--opts", "MODEL.NONE", "1"], "MODEL.NONE"),
        ([], "make-demo --data"),
    ],
)
def test_mistakes_are_said_at_the_start(weights, capsys, monkeypatch, tmp_path, flags, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cffm_plugin.cli.work.web.log_to_terminal", lambda: None)
    with pytest.raises(SystemExit, match=said):
        main([flag.format(weights=weights) for flag in flags])


def test_it_is_seen_on_this_machine_alone_unless_told_otherwise():
    args = parse_args([])
    assert args.host == "127.0.0.1" and args.share is False


def test_without_gradio_it_says_how_to_get_it(weights):
    code = f"""
    from cffm_plugin.cli.web import main
    main(["--model", {str(weights)!r}])
    """
    result = run_without(["gradio"], code)
    assert result.returncode == 1, result.stderr
    assert "The web page needs gradio" in result.stderr and "pip install gradio" in result.stderr


def answer_to(address, *data):
    """Of the server to a call that no client of gradio's has made decent: its events as text."""
    url = f"{address}gradio_api/call/segment"
    body = json.dumps({"data": data}).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as called:
        event = json.loads(called.read())["event_id"]
    with urllib.request.urlopen(f"{url}/{event}") as events:
        return events.read().decode()


def test_files_of_the_server_and_models_beside_its_own_are_out_of_reach(
    weights, free_port, make_video, tmp_path
):
    client = pytest.importorskip("gradio_client", reason="gradio is not installed")
    secret = make_video(tmp_path / "secret.mp4", num_frames=2)
    with served(parse_args(["--model", str(weights), "--port", str(free_port())])) as page:
        connected = client.Client(page.local_url, verbose=False, download_files=False)
        upload = client.handle_file(str(secret))
        video, _, text = connected.predict(upload, "tiny", api_name="/segment")
        assert "image segmentor" in text
        with pytest.raises(Exception, match="not in the list of choices"):
            connected.predict(upload, str(weights), api_name="/segment")
        connected.close()

        def call(path):
            return answer_to(
                page.local_url, {"path": path, "meta": {"_type": "gradio.FileData"}}, "tiny"
            )

        assert "image segmentor" in call(video["path"])  # of its own it takes any
        assert "image segmentor" not in call(str(secret))


def test_uploads_and_results_are_gone_when_the_server_ends(
    weights, free_port, make_video, tmp_path, monkeypatch
):
    client = pytest.importorskip("gradio_client", reason="gradio is not installed")
    make_video(tmp_path / "street.mp4", num_frames=3)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = os.environ.get("GRADIO_TEMP_DIR")
    with served(parse_args(["--model", str(weights), "--port", str(free_port())])) as page:
        connected = client.Client(
            page.local_url, verbose=False, download_files=str(tmp_path / "fetched")
        )
        result, _, text = connected.predict(
            client.handle_file(str(tmp_path / "street.mp4")), "tiny", api_name="/segment"
        )
        assert "image segmentor" in text
        kept = [file.name for file in temporary.rglob("*.mp4")]
        assert sorted(kept) == ["street.mp4", "street_segmented.mp4"]
        connected.close()
    # The client leaves empty folders of its own.
    assert [path for path in temporary.rglob("*") if path.is_file()] == []
    assert list(temporary.glob("cffm_web_*")) == []
    assert os.environ.get("GRADIO_TEMP_DIR") == before
