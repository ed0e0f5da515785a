"""Numbers of reports: those of the evaluator, flicker, and what is worst and best."""

import json
import math

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from tiny_predictions import moving_boxes, noisy, write_labels, write_masks

from cffm_plugin.data import Dataset, read_mask, register_video_folder
from cffm_plugin.evaluation import VSPWEvaluator, score_predictions
from cffm_plugin.report import ReportedModel, ReportOptions, make_report
from cffm_plugin.report.score_tables import WINDOW_SIZES, worst_windows

NUM_CLASSES = 4
NO_PICTURES = ReportOptions(players=0)


def report_json(index):
    return json.loads(index.with_name("report.json").read_text())


def report_of(tmp_path, truths, *predictions, options=NO_PICTURES):
    """report.json of models m0, m1, ... : video -> classes of each."""
    root = write_masks(tmp_path / "dataset", truths)
    models = [
        ReportedModel(f"m{i}", write_labels(tmp_path / f"m{i}", labels))
        for i, labels in enumerate(predictions)
    ]
    dataset = Dataset.in_folder(root, "val", NUM_CLASSES)
    return report_json(make_report(dataset, models, tmp_path / "report", options))


def evaluate(name, output, share, seed):
    """What VSPWEvaluator says and saves of noisy predictions."""
    evaluator = VSPWEvaluator(name, output_dir=output, save_predictions=True, distributed=False)
    mapping = MetadataCatalog.get(name).label_mapping
    for record in DatasetCatalog.get(name):
        truth = mapping(read_mask(record["sem_seg_file_name"]))
        labels = noisy(truth, share, NUM_CLASSES, [seed, record["frame_index"]])
        evaluator.process([record], [{"label_map": torch.from_numpy(labels)}])
    results = evaluator.evaluate()["sem_seg"]
    return results, json.loads((output / "vspw_results.json").read_text())


def test_the_numbers_are_those_of_the_evaluator(tiny_vspw, tmp_path):
    evaluated = [
        evaluate(tiny_vspw.val, tmp_path / n, *n_) for n, n_ in (("a", (0.2, 1)), ("b", (0.1, 2)))
    ]
    models = [ReportedModel(n, tmp_path / n / "result_submission") for n in ("a", "b")]
    dataset = Dataset.registered(tiny_vspw.val)
    found = report_json(make_report(dataset, models, tmp_path / "report", NO_PICTURES))
    for model, (results, written) in enumerate(evaluated):
        for metric in ("mIoU", "fwIoU", "mACC", "pACC", "mVC8", "mVC16"):
            assert found["summary"][metric][model] == results[metric]
        for n in (8, 16):
            strict = written["strict"]["over_windows"]
            assert found["summary"][f"strict VC{n}"][model] == strict[f"strict_VC{n}"]
            assert found["summary"][f"TA{n}"][model] == strict[f"temporal_accuracy{n}"]
        for name in MetadataCatalog.get(tiny_vspw.val).stuff_classes:
            assert found["iou"][name][model] == results[f"IoU-{name}"]
        for video in ("v0", "v1"):
            video_scores = found["videos"][video]
            for n in (8, 16):
                assert video_scores[f"VC{n}"][model] == written["per_video"][video][f"VC{n}"]
                strict = written["strict"]["per_video"][video]
                assert video_scores[f"TA{n}"][model] == strict[f"temporal_accuracy{n}"]
    assert found["summary"]["mIoU"][1] > found["summary"]["mIoU"][0]  # less noise


def test_the_miou_of_a_video_is_over_its_own_frames_and_classes(tmp_path):
    truths = {"a": np.zeros((2, 2, 2), np.uint8), "b": np.full((2, 2, 2), 1, np.uint8)}
    predictions = {"a": truths["a"].copy(), "b": truths["b"].copy()}
    predictions["b"][1, 0, 0] = 2  # one of 8 pixels of class 1 is missed; 2 is in no truth
    found = report_of(tmp_path, truths, predictions)
    assert found["videos"]["a"]["mIoU"] == [100]
    assert found["videos"]["b"]["mIoU"] == [pytest.approx(100 * 7 / 8)]


def test_flicker_is_the_share_of_steady_labelled_pixels_that_change(tmp_path):
    """Four pixels, three frames. Of the truth two stay, one changes once, and one is void."""
    truth = np.array([[[0, 1, 0, 255]], [[0, 1, 1, 255]], [[0, 1, 1, 255]]], np.uint8)
    labels = np.array([[[0, 1, 0, 0]], [[2, 1, 3, 1]], [[2, 1, 0, 2]]], np.uint8)
    found = report_of(tmp_path, {"v": truth}, {"v": labels})
    # Frames 1 and 2: of two pixels that stay, the first changes: 1/2. Frames 2 and 3: of three that
    # stay, the third changes: 1/3. Void and the pixel whose truth changes count nowhere.
    assert found["videos"]["v"]["flicker"] == [pytest.approx(100 * (1 / 2 + 1 / 3) / 2)]
    assert found["summary"]["flicker"] == found["videos"]["v"]["flicker"]


def test_a_prediction_that_is_constant_and_wrong_does_not_flicker(tmp_path):
    truth = np.zeros((18, 2, 2), np.uint8)
    found = report_of(tmp_path, {"v": truth}, {"v": truth + 1})
    assert found["summary"]["flicker"] == [0]
    assert found["summary"]["mVC8"] == [100]
    assert found["summary"]["TA8"] == [0]


def test_what_is_undefined_is_null_and_stands_as_a_dash(tmp_path):
    truth = np.zeros((1, 2, 2), np.uint8)  # no pair of frames, no window
    found = report_of(tmp_path, {"v": truth}, {"v": truth})
    assert found["videos"]["v"]["flicker"] == found["videos"]["v"]["VC8"] == [None]
    page = (tmp_path / "report" / "index.html").read_text()
    assert "–</td>" in page and "There is none: no 8 frames" in page


@pytest.mark.usefixtures("forget_datasets")
def test_frames_without_labels_count_nowhere_and_leave_gaps(tmp_path):
    truth = np.zeros((4, 2, 2), np.uint8)
    labels = truth + 1  # the masks' values, k + 1, are classes here
    labels[2:] = 2
    masks = [truth[0], truth[1], None, truth[3]]
    root = write_masks(tmp_path / "dataset", {"v": masks})
    layout = {"frames": "data/{video}/origin/{frame}", "masks": "data/{video}/mask/{frame}"}
    register_video_folder("tiny_sparse", root, ["nothing", *"abcd"], is_train=False, **layout)
    model = ReportedModel("m", write_labels(tmp_path / "m", {"v": labels}))
    (tmp_path / "m" / "v" / "00000002.png").unlink()
    dataset = Dataset.registered("tiny_sparse")
    found = report_json(make_report(dataset, [model], tmp_path / "report", ReportOptions()))
    assert found["scored_frames"] == [3]
    assert found["videos"]["v"]["flicker"] == [0]  # of the one pair that is labelled
    assert found["players"] == ["v"]


def test_the_worst_and_the_best_videos_get_the_players(tmp_path):
    """Of five videos, each with another share of pixels that only the second model has wrong."""
    truth = moving_boxes(3)
    names = ["v0", "v1", "v2", "v3", "v4"]
    shares = [0.0, 0.5, 0.1, 0.3, 0.2]
    baseline = {name: noisy(truth, 0.2, NUM_CLASSES, 9) for name in names}
    other = {n: noisy(truth, s, NUM_CLASSES, i) for i, (n, s) in enumerate(zip(names, shares))}
    truths = dict.fromkeys(names, truth)
    found = report_of(tmp_path, truths, baseline, other, options=ReportOptions(players=1))
    assert found["players"] == ["v1", "v0"]
    everything = tmp_path / "all"
    everything.mkdir()
    found = report_of(everything, truths, baseline, other, options=ReportOptions(players=3))
    assert found["players"] == ["v1", "v0", "v3", "v2", "v4"]
    assert set(found["videos"]) == set(names)


@pytest.mark.parametrize(("order", "worst"), [("mIoU", "wrong"), ("flicker", "restless")])
def test_the_order_says_what_is_worst(tmp_path, order, worst):
    truth = np.zeros((4, 4, 4), np.uint8)
    restless = truth.copy()
    restless[::2, 0] = 1  # a quarter of the pixels changes, and is right half the time
    predictions = {"wrong": truth + 1, "restless": restless}
    options = ReportOptions(players=1, order=order)
    found = report_of(tmp_path, dict.fromkeys(predictions, truth), predictions, options=options)
    assert found["players"][0] == worst


def test_worst_windows_are_those_of_the_least_steady_model_and_do_not_overlap(tmp_path):
    steady = np.zeros((24, 4, 4), np.uint8)
    half, quarter = steady.copy(), steady.copy()
    half[8, :2] = 1  # only in frame 8
    quarter[0, :1] = 1  # only in frame 0
    root = write_masks(tmp_path / "dataset", {"a": steady, "b": steady})
    dataset = Dataset.in_folder(root, "val", NUM_CLASSES)
    folders = [
        write_labels(tmp_path / "first", {"a": steady, "b": half}),
        write_labels(tmp_path / "second", {"a": quarter, "b": steady}),
    ]
    scores = [score_predictions(dataset, folder, window_sizes=WINDOW_SIZES) for folder in folders]
    windows = worst_windows(scores, ["a", "b"])
    # Frame 8 of b is in the windows from 1 to 8, which overlap: the earliest is listed. Frame 0 of
    # a is in the window at 0. The others are steady: at 8 and 16 of a, and at 9 of b.
    places = [("ab"[window.video], window.first) for window in windows]
    assert places == [("b", 1), ("a", 0), ("a", 8), ("a", 16), ("b", 9)]
    assert [window.consistency for window in windows[:3]] == [[50, 100], [100, 75], [100, 100]]
    assert [window.accuracy for window in windows[:3]] == [[50, 100], [100, 75], [100, 100]]


def test_a_report_of_one_model_speaks_of_no_baseline(tmp_path):
    truth = moving_boxes(18)
    report_of(
        tmp_path, {"v": truth}, {"v": noisy(truth, 0.1, NUM_CLASSES, 1)}, options=ReportOptions()
    )
    page = (tmp_path / "report" / "index.html").read_text()
    assert 'by-difference">' not in page and "Differences are to" not in page
    assert "wrong where the baseline is right" not in page
    assert "1 model(s)" in page


def test_missing_predictions_are_an_error_that_names_them(tmp_path):
    truth = moving_boxes(3)
    root = write_masks(tmp_path / "dataset", {"v": truth, "w": truth})
    folder = write_labels(tmp_path / "m", {"v": truth})
    (folder / "v" / "00000001.png").unlink()
    dataset = Dataset.in_folder(root, "val", NUM_CLASSES)
    with pytest.raises(ValueError, match=r"(?s)v/00000001\.png.*without any prediction: w \(3 "):
        make_report(dataset, [ReportedModel("m", folder)], tmp_path / "report")
    assert not (tmp_path / "report" / "index.html").exists()
    options = ReportOptions(partial=True)
    found = report_json(
        make_report(dataset, [ReportedModel("m", folder)], tmp_path / "report", options)
    )
    assert found["scored_frames"] == [2]
    assert math.isclose(found["videos"]["v"]["mIoU"][0], 100)
    assert found["videos"]["w"]["mIoU"] == [None]


def test_predictions_from_one_give_the_same_report(tmp_path):
    truth = moving_boxes(4)
    labels = noisy(truth, 0.2, NUM_CLASSES, 3)
    for name, stored, one_based in (("zero", labels, False), ("one", labels + 1, True)):
        folder = tmp_path / name
        folder.mkdir()
        options = ReportOptions(one_based=one_based)
        found = report_of(folder, {"v": truth}, {"v": stored}, options=options)
        found["models"] = None
        if name == "zero":
            expected = found
    assert found == expected
    sheets = [
        sorted((tmp_path / n / "report" / "pictures-0").rglob("*.webp")) for n in ("zero", "one")
    ]
    assert len(sheets[0]) == len(sheets[1]) == 6
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*sheets))
