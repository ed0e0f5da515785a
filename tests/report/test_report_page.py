"""A report in a browser, from the disk: players in step, keys, tables, narrow screens."""

import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_predictions import moving_boxes, noisy, write_labels, write_masks

from cffm_plugin.data import Dataset
from cffm_plugin.report import ReportedModel, ReportOptions, make_report

NUM_CLASSES = 4
NUM_FRAMES = 40  # more than two sheets
VIDEO = '"><img src=x onerror=alert(1)>'
MODEL = "<b>second</b> with a rather long name that has to be broken somewhere"


def grey_of(frame):
    return 10 + 6 * frame


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A video in which frame i is one grey, its truth class i % 4, and what the two models see the
    classes of one and two frames later; two others with boxes; and a run with training curves."""
    folder = tmp_path_factory.mktemp("report")
    size = (48, 64)
    plain = [np.full(size, i % NUM_CLASSES, np.uint8) for i in range(NUM_FRAMES + 2)]
    boxes = {"day/one": moving_boxes(18, size), "two": moving_boxes(12, size, seed=3)}
    truths = {VIDEO: np.array(plain[:NUM_FRAMES]), **boxes}
    frames = {v: np.full((len(t), *size), 90, np.uint8) for v, t in boxes.items()}
    frames[VIDEO] = np.array([np.full(size, grey_of(i), np.uint8) for i in range(NUM_FRAMES)])
    root = write_masks(folder / "dataset", truths, frames=frames)
    models = []
    for n, name in enumerate(("first", MODEL)):
        labels = {v: noisy(t, 0.1 * (n + 1), NUM_CLASSES, [n]) for v, t in boxes.items()}
        labels[VIDEO] = np.array(plain[n + 1 : n + 1 + NUM_FRAMES])
        run = folder / f"run{n}"
        predictions = write_labels(run / "inference" / "result_submission", labels)
        lines = [f'{{"iteration": {i}, "total_loss": {5 / (i + 1 + n)}}}' for i in range(10)]
        (run / "metrics.json").write_text("\n".join(lines))
        models.append(ReportedModel(name, predictions, run))
    dataset = Dataset.in_folder(root, "val", NUM_CLASSES)
    return make_report(dataset, models, folder / "out", ReportOptions()), dataset


@pytest.fixture
def page(browser, report):
    """The report, opened from the disk; at the end nothing was complained of."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: (complaints.append("a dialog"), dialog.dismiss()))
    opened.on("requestfailed", lambda request: complaints.append(request.url))
    opened.goto(report[0].as_uri())
    opened.wait_for_selector("#stage[data-frame='0']")
    yield opened
    assert not complaints
    opened.close()


def choose(page, video):
    """The player of a video, with labels alone."""
    option = page.locator("#video option").filter(has_text=video).first
    page.select_option("#video", option.get_attribute("value"))
    page.locator("#opacity").fill("100")
    if page.is_checked("#names"):
        page.uncheck("#names")
    page.wait_for_selector("#stage[data-frame='0']")


def center_of(pane):
    picture = np.asarray(Image.open(io.BytesIO(pane.screenshot())).convert("RGB"))
    return picture[picture.shape[0] // 2, picture.shape[1] // 2].astype(int)


def check_panes_show(page, dataset, frame):
    """Every pane shows this frame: by what it says and by its pixels."""
    page.wait_for_selector(f"#stage[data-frame='{frame}']")
    panes = page.locator("#panes canvas").all()
    assert len(panes) == 4
    assert {pane.get_attribute("data-frame") for pane in panes} == {str(frame)}
    assert abs(center_of(panes[0]) - grey_of(frame)).max() <= 4  # lossy
    for pane, later in zip(panes[1:], (0, 1, 2)):
        expected = dataset.colors[(frame + later) % NUM_CLASSES]
        assert tuple(center_of(pane)) == expected
    assert f"{frame + 1} of {NUM_FRAMES}: {frame:08d}" in page.inner_text("#place")


def test_keys_step_through_frames_and_all_panes_are_in_step(page, report):
    _, dataset = report
    choose(page, VIDEO)
    page.focus("#stage")
    shown = 0
    for key, moved in [
        *[("ArrowRight", 1)] * 3,
        ("ArrowLeft", -1),
        *[("Shift+ArrowRight", 10)] * 2,  # into another sheet
        ("ArrowLeft", -1),
        ("End", NUM_FRAMES),
        ("ArrowRight", 1),  # there is no more
        ("Home", -NUM_FRAMES),
        ("ArrowLeft", -1),
    ]:
        page.keyboard.press(key)
        shown = min(max(shown + moved, 0), NUM_FRAMES - 1)
        check_panes_show(page, dataset, shown)


def test_keys_that_come_fast_end_at_the_last_frame_asked_for(page, report):
    choose(page, VIDEO)
    page.focus("#stage")
    for _ in range(35):
        page.keyboard.press("ArrowRight")
    check_panes_show(page, report[1], 35)


def test_pictures_that_come_late_do_not_take_the_place_of_what_was_asked_for_since(page, report):
    choose(page, VIDEO)
    page.evaluate("""() => {
        const decode = HTMLImageElement.prototype.decode;
        window.late = 0;
        HTMLImageElement.prototype.decode = async function () {
            await decode.call(this);
            if (!this.src.includes("-2.webp")) return;
            await new Promise((resolve) => setTimeout(resolve, 400));
            window.late += 1;
        };
    }""")
    page.focus("#stage")
    page.keyboard.press("End")  # in the third sheet
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    check_panes_show(page, report[1], 1)
    page.wait_for_function("window.late > 3")
    page.wait_for_timeout(100)
    check_panes_show(page, report[1], 1)


def test_space_plays_and_pauses_with_all_panes_in_step(page, report):
    choose(page, VIDEO)
    page.select_option("#rate", "30")
    page.focus("#stage")
    page.keyboard.press("Space")
    assert page.inner_text("#play") == "Pause"
    page.wait_for_function("Number(document.querySelector('#stage').dataset.frame) > 5")
    frames = page.evaluate("""async () => {
        const seen = [];
        for (let i = 0; i < 20; i++) {
            await new Promise(requestAnimationFrame);
            const canvases = [...document.querySelectorAll('#panes canvas')];
            seen.push(new Set(canvases.map((canvas) => canvas.dataset.frame)).size);
        }
        return seen;
    }""")
    assert set(frames) == {1}
    page.keyboard.press("Space")
    assert page.inner_text("#play") == "Play"
    stopped = int(page.get_attribute("#stage", "data-frame"))
    page.wait_for_timeout(150)
    check_panes_show(page, report[1], stopped)


def test_difference_and_flicker_are_painted_over_the_models(page):
    choose(page, "day/one")
    page.focus("#stage")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#stage[data-frame='1']")
    panes = page.locator("#panes canvas").all()

    def pictures():
        page.wait_for_timeout(150)
        return [pane.screenshot() for pane in panes]

    plain = pictures()
    for key in "df":
        page.keyboard.press(key)
        marked = pictures()
        assert marked[:2] == plain[:2]  # input and truth stay as they are
        assert all(a != b for a, b in zip(marked[2:], plain[2:]))
        page.keyboard.press(key)
        assert pictures() == plain


def test_the_page_scrolls_by_keys_where_no_player_is_in_view(page):
    page.locator("#made").scroll_into_view_if_needed()
    page.evaluate("document.activeElement.blur(); scrollTo(0, document.body.scrollHeight)")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.wait_for_timeout(100)
    assert page.get_attribute("#stage", "data-frame") == "0"
    assert page.inner_text("#play") == "Play"


def values_of(page, section, column):
    rows = page.locator(f"#{section} tbody tr").all()
    return [row.locator("> *").nth(column).get_attribute("data-value") for row in rows]


@pytest.mark.parametrize("section", ["videos", "classes"])
def test_tables_are_sorted_by_keyboard_and_say_so(page, section):
    head = page.locator(f"#{section} th[data-column]").last
    column = int(head.get_attribute("data-column"))
    before = sorted(values_of(page, section, column))
    head.locator("button").focus()
    for direction, reverse in (("ascending", False), ("descending", True)):
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == direction
        found = [float(value) for value in values_of(page, section, column)]
        defined = [value for value in found if value == value]
        assert found[: len(defined)] == sorted(defined, reverse=reverse)
    assert sorted(values_of(page, section, column)) == before
    page.locator(f"#{section} .by-difference").check()
    differences = [
        float(row.locator("> *").nth(column).get_attribute("data-difference"))
        for row in page.locator(f"#{section} tbody tr").all()
    ]
    defined = [value for value in differences if value == value]
    assert differences[: len(defined)] == sorted(defined, reverse=True)


def test_a_window_leads_to_its_frame_in_the_player(page):
    link = page.locator("#windows a").first
    frame = link.get_attribute("data-frame")
    link.click()
    page.wait_for_selector(f"#stage[data-frame='{frame}']")
    assert page.evaluate("document.activeElement.id") == "stage"
    assert page.input_value("#video") == link.get_attribute("data-video")


def test_names_of_strangers_are_shown_as_they_are(page):
    assert VIDEO in page.inner_text("#videos")
    assert MODEL in page.inner_text("header")
    assert page.locator("img[src=x]").count() == 0


def test_training_curves_are_drawn_for_every_run(page):
    assert page.locator("#training path.curve").count() == 2
    assert "total_loss" in page.inner_text("#training")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_does_not_scroll_sideways(browser, report, width, scheme):
    opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened.goto(report[0].as_uri())
    opened.wait_for_selector("#stage[data-frame='0']")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    wide = opened.evaluate("""() => [...document.querySelectorAll('body *')].filter((element) =>
        !element.closest('.scroll, pre, svg, option')
        && element.getBoundingClientRect().right > innerWidth + 1
    ).map((element) => element.outerHTML.slice(0, 80))""")
    assert not wide
    color = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = sum(map(int, re.findall(r"\d+", color)[:3])) < 200
    assert is_dark == (scheme == "dark")
    opened.click("#theme")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") != color
    opened.close()


def test_a_missing_picture_is_named_and_does_not_break_the_page(browser, report, tmp_path):
    copied = shutil.copytree(report[0].parent, tmp_path / "copied")
    opened = browser.new_page()
    for sheet in copied.rglob("input-1.webp"):
        sheet.unlink()
    opened.goto((copied / "index.html").as_uri())
    opened.wait_for_selector("#stage[data-frame='0']")
    option = opened.locator("#video option").filter(has_text=VIDEO).first
    opened.select_option("#video", option.get_attribute("value"))
    opened.wait_for_selector("#stage[data-frame='0']")
    opened.click("#last")
    opened.wait_for_function("document.querySelector('#stage').dataset.frame === '39'")
    opened.locator("#frame").fill("20")
    opened.wait_for_selector("#trouble:not([hidden])")
    assert "input-1.webp is missing or damaged" in opened.inner_text("#trouble")
    opened.click("#first")
    opened.wait_for_selector("#trouble[hidden]", state="attached")
    opened.close()
