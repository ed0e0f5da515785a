"""Videos from the network: a server of files on this machine."""

import http.server
import signal
import socket
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from test_damage import FAST_START, cut, write_noise
from test_video_demo import CLASSES, FakeSegmentor
from video_files import write_video

from cffm_plugin.video.decoding import IncompleteVideoError
from cffm_plugin.video.reading import NetworkStream, VideoFile
from cffm_plugin.video.video_demo import VideoDemo
from cffm_plugin.video.writing import VideoWriter

av = pytest.importorskip("av")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def serve(handler):
    """Gives the address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def address(tmp_path):
    """Serves the files of tmp_path."""
    with serve(partial(QuietHandler, directory=str(tmp_path))) as address:
        yield address


@pytest.fixture
def silent_port():
    """Of a server that takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def closed_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_frames_come_from_the_network_with_their_times(address, tmp_path, name):
    # The server can't seek, so that an MP4's index has to come first.
    write_noise(tmp_path / name, options=FAST_START)
    stream = NetworkStream(f"{address}/{name}")
    assert stream.rate is None and stream.num_frames is None and stream.files == ()
    frames = list(stream)
    assert [frame.name for frame in frames] == [f"{index:08d}" for index in range(40)]
    assert [f.seconds for f in frames] == pytest.approx([k / 25 for k in range(40)], abs=1e-3)


@pytest.fixture
def asked(tmp_path):
    """The files that a server was asked for, as they come; with its address."""
    asked = []

    class Handler(QuietHandler):
        def do_GET(self):
            asked.append(self.path.lstrip("/"))
            super().do_GET()

    with serve(partial(Handler, directory=str(tmp_path))) as address:
        yield address, asked


def write_playlist(path, side, least):
    """Of 48 frames of noise, ``least`` and up, in pieces of a fifth of a second: 0.ts to 9.ts."""
    rng = np.random.default_rng(0)
    noise = rng.integers(least, least + 128, (48, side, side, 3), dtype=np.uint8)
    write_video(path.with_suffix(".ts"), noise, options={"g": "5", "qp": "0"})
    with av.open(path.with_suffix(".ts")) as source:
        options = {"hls_time": "0.2", "hls_list_size": "0"}
        with av.open(path, "w", format="hls", options=options) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)


def test_of_a_playlist_the_best_variant_alone_is_read(asked, tmp_path):
    lines = ["#EXTM3U"]
    variants = (("small", 128, 90_000, 0), ("best", 256, 300_000, 128), ("middle", 256, 200_000, 0))
    for name, side, bits, least in variants:
        write_playlist(tmp_path / f"{name}.m3u8", side, least)
        stated = f"BANDWIDTH={bits},RESOLUTION={side}x{side}"
        lines += [f"#EXT-X-STREAM-INF:{stated}", f"{name}.m3u8"]
    (tmp_path / "all.m3u8").write_text("\n".join(lines) + "\n")
    address, files = asked
    frames = list(NetworkStream(f"{address}/all.m3u8"))
    assert len(frames) == 48
    assert all(f.image.shape == (256, 256, 3) and f.image.mean() > 128 for f in frames)
    assert {f"best{piece}.ts" for piece in range(10)} <= set(files)
    # Of the others the first pieces, by which FFmpeg finds out what they are.
    assert "small9.ts" not in files and "middle9.ts" not in files


@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtmp"])
def test_what_does_not_answer_is_an_error_without_the_password(scheme, closed_port, silent_port):
    for port, said in ((closed_port, "Connection refused"), (silent_port, "no answer in 0.5 sec")):
        with pytest.raises(OSError, match=said) as raised:
            NetworkStream(f"{scheme}://me:secret@127.0.0.1:{port}/x", timeout=0.5)
        assert f"{scheme}://127.0.0.1:{port}/x" in str(raised.value)
        assert "secret" not in str(raised.value) and "\n" not in str(raised.value)


def test_what_is_no_video_or_lacks_what_it_promises_is_an_error(address, tmp_path):
    (tmp_path / "page.html").write_text("<p>no video</p>" * 100)
    for name, error, said in [
        ("page.html", ValueError, "Invalid data"),
        ("nowhere.mp4", OSError, "404 Not Found"),
    ]:
        with pytest.raises(error, match=said):
            NetworkStream(f"{address}/{name}")
    cut(write_noise(tmp_path / "a.mkv"))
    with pytest.raises(IncompleteVideoError, match="a.mkv: incomplete"):
        list(NetworkStream(f"{address}/a.mkv"))
    assert all(map(NetworkStream.is_url, ["rtsp://camera/1", "RTMP://x/y", "https://x/y.mp4"]))
    assert not any(map(NetworkStream.is_url, ["a.mp4", "/a/http.mp4", "C:\\a.mp4", "http/a"]))


class EndlessHandler(QuietHandler):
    """Sends a transport stream again and again, with time stamps that start anew."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        data = Path(self.directory, "a.ts").read_bytes()
        try:
            while True:
                self.wfile.write(data)
        except OSError:  # the reader has gone
            pass


def test_ctrl_c_ends_an_endless_stream_and_leaves_a_playable_file(tmp_path):
    write_noise(tmp_path / "a.ts", options={})
    handler = partial(EndlessHandler, directory=str(tmp_path))

    class CtrlCAfter60(VideoWriter):
        count = 0

        def write(self, frame, picture):
            super().write(frame, picture)
            self.count += 1
            if self.count == 60:  # more than the file holds
                signal.raise_signal(signal.SIGINT)

    with serve(handler) as address:
        stream = NetworkStream(f"{address}/live")
        run = VideoDemo(FakeSegmentor(), CLASSES).run(
            stream, CtrlCAfter60(tmp_path / "o.mp4", None)
        )
    assert run == (60, signal.SIGINT)
    assert len(list(VideoFile(tmp_path / "o.mp4"))) == 60
