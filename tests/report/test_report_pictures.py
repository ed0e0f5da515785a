"""Pictures of reports: what they show, the budget, files' names; and the folder they are in."""

import json
import logging
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_predictions import moving_boxes, noisy, write_labels, write_masks

from cffm_plugin.data import Dataset
from cffm_plugin.evaluation.metrics import VideoConsistency
from cffm_plugin.report import ReportedModel, ReportOptions, make_report
from cffm_plugin.report.difference_marks import (
    BETTER,
    FLICKERS,
    OTHER,
    WORSE,
    WRONG,
    difference,
    flicker,
    paint,
)
from cffm_plugin.report.score_tables import flicker_of

NUM_CLASSES = 4


@pytest.fixture
def two_models(tmp_path):
    """A dataset of four videos of 18 frames, and two models."""
    truths = {f"v{i}": moving_boxes(18, seed=i) for i in range(4)}
    root = write_masks(tmp_path / "dataset", truths)
    models = []
    for n, share in enumerate((0.3, 0.1)):
        labels = {
            v: noisy(t, share, NUM_CLASSES, [n, i]) for i, (v, t) in enumerate(truths.items())
        }
        models.append(ReportedModel(f"m{n}", write_labels(tmp_path / f"m{n}", labels)))
    return Dataset.in_folder(root, "val", NUM_CLASSES), models


def size_of(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def player_of(folder, video):
    """The player's folder and its entry in the page."""
    page = (folder / "index.html").read_text()
    data = json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1]
    )
    entry = next(player for player in data["players"] if player["label"].startswith(f"{video} "))
    return folder / data["folder"] / str(entry["video"]), entry


def frame_of(folder, layer, entry, index):
    """(H, W, channels) of a frame in the sheets of a layer."""
    sheet, row = divmod(index, entry["perSheet"])
    height = entry["height"]
    pixels = np.asarray(Image.open(folder / f"{layer}-{sheet}.webp"))
    assert pixels.shape[1] == entry["width"] and pixels.shape[0] % height == 0
    return pixels[row * height : (row + 1) * height]


# --- Marks ----------------------------------------------------------------------------------


def test_differences_tell_wrong_worse_and_better_and_leave_void_alone():
    truth = np.array([[0, 0, 0, 0, 255]])
    model = np.array([[0, 1, 1, 0, 3]])
    baseline = np.array([[0, 1, 0, 2, 1]])
    expected = [[0, WRONG.code, WORSE.code, BETTER.code, 0]]
    assert difference(truth, model, baseline).tolist() == expected
    assert difference(truth, model, None).tolist() == [[0, WRONG.code, WRONG.code, 0, 0]]


def test_without_truth_differences_are_those_to_the_baseline():
    model, baseline = np.array([[0, 1]]), np.array([[0, 2]])
    assert difference(None, model, baseline).tolist() == [[0, OTHER.code]]
    assert difference(None, model, None).tolist() == [[0, 0]]


def test_marked_flicker_is_what_the_number_counts():
    truth = moving_boxes(6)
    labels = noisy(truth, 0.3, NUM_CLASSES, 5)
    consistency = VideoConsistency((2,))
    for t, p in zip(truth, labels):
        consistency.update(t, p)
    for i, percent in enumerate(flicker_of(consistency.windows())):
        marked = flicker((truth[i], truth[i + 1]), (labels[i], labels[i + 1]))
        steady = (truth[i] == truth[i + 1]) & (truth[i] != 255)
        assert percent == pytest.approx(100 * (marked == FLICKERS.code).sum() / steady.sum())


def test_there_is_no_flicker_beside_a_frame_that_lacks_something():
    labels = np.zeros((2, 2), np.uint8)
    assert flicker((None, labels), (labels, labels)) is None
    assert flicker((labels, labels), (None, labels)) is None


def test_marks_differ_in_pattern_and_not_in_colour_alone():
    patterns = set()
    for mark in (WRONG, WORSE, BETTER, OTHER, FLICKERS):
        picture = paint(np.full((12, 12), mark.code, np.uint8))
        light = picture[..., 0] == mark.color[0]
        assert 0.1 < light.mean() < 1
        patterns.add(light.tobytes())
    assert len(patterns) == 5
    assert not paint(np.zeros((2, 2), np.uint8)).any()


# --- Players --------------------------------------------------------------------------------


def test_a_player_shows_every_frame_of_every_layer(two_models, tmp_path):
    dataset, models = two_models
    make_report(dataset, models, tmp_path / "report")
    folder, entry = player_of(tmp_path / "report", "v2")
    assert (entry["width"], entry["height"]) == (32, 24)
    colors = np.array([*dataset.colors, *[(0, 0, 0)] * (256 - NUM_CLASSES)], np.uint8)
    truth = moving_boxes(18, seed=2)
    for index in (0, 15, 16, 17):  # the last of a sheet and the first of the next
        assert (frame_of(folder, "truth", entry, index)[..., :3] == colors[truth[index]]).all()
        grey = frame_of(folder, "input", entry, index).astype(int)
        assert abs(grey - 90).max() <= 3  # lossy
        for m, model in enumerate(models):
            labels = np.asarray(Image.open(model.predictions / "v2" / f"{index:08d}.png"))
            shown = frame_of(folder, f"labels{m}", entry, index)[..., :3]
            assert (shown == colors[labels]).all()
            marked = frame_of(folder, f"difference{m}", entry, index)[..., 3] > 0
            wrong = (labels != truth[index]) & (truth[index] != 255)
            assert marked[wrong].all() and not marked[truth[index] == 255].any()
            if m == 0:
                assert (marked == wrong).all()
    assert not frame_of(folder, "flicker0", entry, 0)[..., 3].any()
    assert frame_of(folder, "flicker0", entry, 1)[..., 3].any()


def test_names_stand_within_their_classes(two_models, tmp_path):
    dataset, models = two_models
    make_report(dataset, models, tmp_path / "report")
    _, entry = player_of(tmp_path / "report", "v0")
    truth = moving_boxes(18)
    for labels, names in zip(truth, entry["names"]["truth"]):
        assert all(labels[y, x] == k for k, x, y in names)
    assert entry["classes"] == [0, 1, 2, 3]


def test_wide_frames_are_scaled_down_with_classes_that_stay_classes(tmp_path):
    truth = moving_boxes(2, size=(60, 100))
    root = write_masks(tmp_path / "dataset", {"v": truth})
    model = ReportedModel("m", write_labels(tmp_path / "m", {"v": truth}))
    dataset = Dataset.in_folder(root, "val", NUM_CLASSES)
    make_report(dataset, [model], tmp_path / "report", ReportOptions(player_width=50))
    folder, entry = player_of(tmp_path / "report", "v")
    assert (entry["width"], entry["height"]) == (50, 30)
    shown = {tuple(c) for c in frame_of(folder, "truth", entry, 1)[..., :3].reshape(-1, 3).tolist()}
    assert shown <= {*dataset.colors, (0, 0, 0)}


def test_the_report_does_not_depend_on_the_number_of_processes(two_models, tmp_path):
    dataset, models = two_models
    for jobs in (1, 2):
        make_report(dataset, models, tmp_path / str(jobs), ReportOptions(jobs=jobs))
    files = [sorted((tmp_path / jobs / "pictures-0").rglob("*.webp")) for jobs in "12"]
    assert len(files[0]) == len(files[1]) > 4
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*files))
    assert (tmp_path / "1" / "report.json").read_text() == (
        tmp_path / "2" / "report.json"
    ).read_text()


# --- Budget ---------------------------------------------------------------------------------


def test_players_that_would_exceed_the_budget_are_left_out_and_counted(
    two_models, tmp_path, caplog
):
    dataset, models = two_models
    everything = make_report(dataset, models, tmp_path / "all").parent
    assert len(json.loads((everything / "report.json").read_text())["players"]) == 4
    none = make_report(dataset, models, tmp_path / "none", ReportOptions(players=0)).parent
    assert not list((none).rglob("*.webp"))
    budget = (size_of(everything) + size_of(none)) / 2
    caplog.set_level(logging.WARNING)
    some = make_report(
        dataset, models, tmp_path / "some", ReportOptions(max_megabytes=budget / 1e6)
    ).parent
    kept = json.loads((some / "report.json").read_text())["players"]
    assert 0 < len(kept) < 4
    assert size_of(some) <= budget
    assert f"{len(kept)} of 4 players; the others were left out" in caplog.text
    assert len(list((some / "pictures-0" / "players").iterdir())) == len(kept)
    assert f"{4 - len(kept)} more had no room" in (some / "index.html").read_text()


# --- The folder -----------------------------------------------------------------------------


def test_a_new_report_takes_the_place_of_the_old_one(two_models, tmp_path):
    dataset, models = two_models
    folder = make_report(dataset, models, tmp_path / "report").parent
    before = (folder / "index.html").read_text()
    make_report(dataset, models[:1], folder)
    assert "1 model(s)" in (folder / "index.html").read_text() != before
    assert sorted(f.name for f in folder.iterdir()) == ["index.html", "pictures-1", "report.json"]
    assert len(list((folder / "pictures-1" / "players").iterdir())) == 4


def test_a_report_that_fails_leaves_the_old_one_whole(two_models, tmp_path):
    dataset, models = two_models
    folder = make_report(dataset, models, tmp_path / "report").parent
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    (models[0].predictions / "v1" / "00000003.png").unlink()
    with pytest.raises(ValueError, match="v1/00000003.png"):
        make_report(dataset, models, folder)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_a_folder_that_holds_something_else_is_refused(two_models, tmp_path):
    dataset, models = two_models
    precious = tmp_path / "precious" / "pictures-0" / "mine.png"
    precious.parent.mkdir(parents=True)
    precious.touch()
    with pytest.raises(FileExistsError, match="precious holds something that is no report"):
        make_report(dataset, models, tmp_path / "precious")
    assert precious.exists()


# --- Strangers' names -----------------------------------------------------------------------

VIDEO = '"><img src=x onerror=alert(1)>'
CLASS = "</script><script>alert(2)</script>"
MODEL = "<b onmouseover=alert(3)>{{ 7777 * 7777 }}"


@pytest.fixture
def hostile(tmp_path):
    """Video, class, frame and model with HTML in their names."""
    truth = moving_boxes(9)
    root = write_masks(tmp_path / "dataset", {VIDEO: truth, "day/walk & talk": truth})
    labels = noisy(truth, 0.2, NUM_CLASSES, 0)
    predictions = write_labels(tmp_path / "m", {VIDEO: labels, "day/walk & talk": labels})
    dataset = Dataset.in_folder(root, "val", NUM_CLASSES)
    names = (CLASS, "a & b", "'c'", "d")
    object.__setattr__(dataset, "class_names", names)
    models = [ReportedModel(MODEL, predictions), ReportedModel("' onload='", predictions)]
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("MODEL: {WEIGHTS: '</pre><script>alert(4)</script>'}\n")
    models[0] = ReportedModel(MODEL, predictions, run)
    return dataset, models


def test_names_of_strangers_are_text_and_no_html(hostile, tmp_path):
    page = make_report(*hostile, tmp_path / "report").read_text()
    assert page.count("<script") == page.count("</script>") == 2  # data and script: ours
    for dangerous in ("<img src=x", "<b onmouseover", "</pre><script>", "60481729"):
        assert dangerous not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "&lt;b onmouseover=alert(3)&gt;{{ 7777 * 7777 }}" in page


def test_no_file_of_a_report_is_named_after_a_stranger(hostile, tmp_path):
    folder = make_report(*hostile, tmp_path / "report").parent
    names = [str(file.relative_to(folder)) for file in folder.rglob("*")]
    assert names and all(re.fullmatch(r"[a-z0-9/.-]+", name) for name in names)


def test_a_report_needs_nothing_outside_its_folder(two_models, tmp_path):
    dataset, models = two_models
    page = make_report(dataset, models, tmp_path / "report").read_text()
    references = re.findall(r"""(?:src|href)=["']([^"'#][^"']*)["']""", page)
    assert references
    for reference in references:
        assert reference == "data:," or (tmp_path / "report" / reference).is_file()
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page)


def test_a_report_can_be_moved(two_models, tmp_path):
    dataset, models = two_models
    folder = make_report(dataset, models, tmp_path / "report").parent
    shutil.move(folder, tmp_path / "elsewhere")
    directory, entry = player_of(tmp_path / "elsewhere", "v0")
    assert frame_of(directory, "truth", entry, 0).shape[:2] == (24, 32)
