"""Videos from the network: a server of files on this machine."""

import http.server
import signal
import socket
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from test_damage import FAST_START, cut, write_noise
from test_video_demo import CLASSES, FakeSegmentor

from cffm_plugin.video.decoding import IncompleteVideoError
from cffm_plugin.video.reading import NetworkStream, VideoFile
from cffm_plugin.video.video_demo import VideoDemo
from cffm_plugin.video.writing import VideoWriter

pytest.importorskip("av")


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


def test_a_stream_that_lacks_what_it_promises_says_so(address, tmp_path):
    cut(write_noise(tmp_path / "a.mkv"))
    with pytest.raises(IncompleteVideoError, match="a.mkv: incomplete"):
        list(NetworkStream(f"{address}/a.mkv"))


@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtmp"])
def test_what_does_not_answer_is_an_error_without_the_password(scheme, closed_port, silent_port):
    for port, said in ((closed_port, "Connection refused"), (silent_port, "no answer in 0.5 sec")):
        with pytest.raises(OSError, match=said) as raised:
            NetworkStream(f"{scheme}://me:secret@127.0.0.1:{port}/x", timeout=0.5)
        assert f"{scheme}://127.0.0.1:{port}/x" in str(raised.value)
        assert "secret" not in str(raised.value) and "\n" not in str(raised.value)


def test_what_is_no_video_is_an_error(address, tmp_path):
    (tmp_path / "page.html").write_text("<p>no video</p>" * 100)
    for name, error, said in [
        ("page.html", ValueError, "Invalid data"),
        ("nowhere.mp4", OSError, "404 Not Found"),
    ]:
        with pytest.raises(error, match=said):
            NetworkStream(f"{address}/{name}")


def test_addresses_are_told_from_files():
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
