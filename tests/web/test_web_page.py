"""The web page in a browser."""

import re
import shutil

import pytest

from cffm_plugin.cli.web import parse_args
from cffm_plugin.video.reading import VideoFile
from cffm_plugin.web.app import served

pytest.importorskip("gradio", reason="gradio, the extra web, is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with sync_api.sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"there is no Chromium that starts here: {error.message.splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where temporary files go."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def address(weights, folder, free_port):
    """Of the page."""
    flags = ["--model", str(weights), "--port", str(free_port()), "--max-mb", "0.03"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        with served(parse_args(flags)) as page:
            yield page.local_url


@pytest.fixture
def page(browser, address):
    """The page, opened, with what it complained of and what it fetched."""
    page = browser.new_page()
    page.complaints, page.fetched = [], []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.fetched.append(request.url))
    page.goto(address)
    page.get_by_role("button", name="Segment").wait_for()
    yield page
    page.close()


def segment(page, file):
    page.locator("input[type=file]").first.set_input_files(str(file))
    page.locator("video").first.wait_for(state="attached", timeout=120_000)
    page.get_by_role("button", name="Segment").click()


def said(page, text):
    place = page.locator("#said", has_text=re.compile(text))
    place.wait_for(timeout=120_000)
    return place.inner_text()


def test_a_video_is_uploaded_segmented_played_and_downloaded(page, make_video, tmp_path, address):
    segment(page, make_video(tmp_path / "street.mp4"))
    figures = said(page, "video segmentor")
    shares = dict(re.findall(r"(image|video) segmentor\s+([\d.]+) %", figures))
    assert set(shares) == {"image", "video"}
    assert all(0 < float(share) < 100 for share in shares.values())
    assert "no truth" in figures

    player = page.locator("#result video")
    player.wait_for()
    page.wait_for_function("document.querySelector('#result video').readyState >= 2")
    width, height = player.evaluate("video => [video.videoWidth, video.videoHeight]")
    assert width > 2 * 64 and height > 48
    player.evaluate("video => { video.muted = true; return video.play() }")
    page.wait_for_function("document.querySelector('#result video').currentTime > 0.2")

    with page.expect_download() as download:
        page.get_by_role("button", name="Download the result").click()
    download.value.save_as(tmp_path / "result.mp4")
    assert download.value.suggested_filename == "street_segmented.mp4"
    frames = list(VideoFile(tmp_path / "result.mp4"))
    assert len(frames) == 12
    assert frames[0].image.shape[:2] == (height, width)

    assert page.complaints == []
    outside = [url for url in page.fetched if not url.startswith((address, "blob:", "data:"))]
    assert outside == []


def test_a_file_that_is_no_video_gets_a_message_and_the_page_goes_on(page, make_video, tmp_path):
    (tmp_path / "notes.mp4").write_text("not a video at all" * 100)
    segment(page, tmp_path / "notes.mp4")
    message = said(page, "can't be done")
    assert "notes.mp4" in message and "expected a video" in message
    assert str(tmp_path) not in message and "gradio" not in message
    page.get_by_label("Clear").first.click()
    segment(page, make_video(tmp_path / "street.mp4", num_frames=3))
    assert "image segmentor" in said(page, "no truth")


def test_a_file_above_the_limit_is_refused_with_the_limit(page, make_video, tmp_path):
    file = make_video(tmp_path / "long.mp4", num_frames=120)
    assert file.stat().st_size > 30_000
    page.locator("input[type=file]").first.set_input_files(str(file))
    page.get_by_text(re.compile(r"exceeds|too large|maximum", re.I)).first.wait_for(timeout=120_000)
    assert "0.03 MB" in page.inner_text("body")  # what is taken, at the top


def test_there_is_no_button_for_what_would_be_fetched_from_elsewhere(page, make_video, tmp_path):
    """gradio's trimming of videos in the browser."""
    file = make_video(tmp_path / "street.mp4", num_frames=2)
    page.locator("input[type=file]").first.set_input_files(str(file))
    page.get_by_role("button", name="Clear").first.wait_for()
    assert page.get_by_role("button", name=re.compile("trim|edit", re.I)).count() == 0


def test_without_a_file_it_asks_for_one(page):
    page.get_by_role("button", name="Segment").click()
    assert "upload or record" in said(page, "First")
