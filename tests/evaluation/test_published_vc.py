"""Every mVC that is published has a name of its own: which videos and windows it counts."""

import json
import math

import numpy as np
import pytest

from cffm_plugin.evaluation import DatasetScores
from cffm_plugin.evaluation.scoring import Tally, VideoScorer
from cffm_plugin.evaluation.tables import official_table, summary_table
from cffm_plugin.experiments import METRICS, read_results

LENGTHS = (7, 8, 9, 12, 16, 17, 20)
SIZE = (5, 6)


def make_videos():
    """Per video (truth, prediction), (L, H, W): some pixels change from frame to frame."""
    rng = np.random.RandomState(0)
    videos = []
    for length in LENGTHS:
        pair = [rng.randint(0, 3, (length, *SIZE)) for _ in range(2)]
        for labels in pair:
            labels[1:] = np.where(rng.rand(length - 1, *SIZE) < 0.1, labels[1:], 0)
            steady = np.broadcast_to(labels[0], labels.shape)
            labels[:] = np.where(labels == 0, steady, labels)
        videos.append(tuple(pair))
    return videos


def score(videos, window_sizes=(8, 16), skipped=()):
    tally = Tally.empty(3)
    for i, (truth, prediction) in enumerate(videos):
        scorer = VideoScorer(tally, f"video{i}", len(truth), window_sizes)
        for t in range(len(truth)):
            frames = (None, None) if (i, t) in skipped else (truth[t], prediction[t])
            scorer.update(*frames)
    names = ["a", "b", "c"]
    return DatasetScores.of(tally, dataset="d", class_names=names, window_sizes=window_sizes)


def windows(videos, n, longest_left_out):
    """VC of all windows of n frames but each video's last, of videos that are longer."""
    found = []
    for truth, prediction in videos:
        if len(truth) <= longest_left_out:
            continue
        for start in range(len(truth) - n):
            of_truth, of_prediction = truth[start : start + n], prediction[start : start + n]
            constant = (of_truth == of_truth[0]).all(axis=0)
            if constant.any():
                found.append((of_prediction == of_prediction[0]).all(axis=0)[constant].mean())
    return found


def test_each_name_counts_the_windows_of_its_script():
    videos = make_videos()
    expected = {
        "mVC8": windows(videos, 8, 16),
        "mVC16": windows(videos, 16, 16),
        "mVC8_vspw": windows(videos, 8, 8),
        "mVC8+16": windows(videos, 8, 8) + windows(videos, 16, 16),
    }
    scores = score(videos).vc()
    assert list(scores) == list(expected)
    for name, of_windows in expected.items():
        assert scores[name].windows == len(of_windows)
        assert scores[name].mean == pytest.approx(np.mean(of_windows), abs=1e-12)
    # 17 and 20 frames have 9 and 12 windows of 8 but the last; 9, 12 and 16 have 1, 4 and 8 more.
    assert [of.windows for of in scores.values()] == [21, 5, 34, 39]
    assert len({round(of.mean, 6) for of in scores.values()}) == 4
    assert len({of.rule for of in scores.values()}) == 3


def test_the_pooled_number_follows_from_the_two_that_it_pools():
    scores = score(make_videos()).vc()
    parts = [scores["mVC8_vspw"], scores["mVC16"]]
    mean = sum(of.windows * of.mean for of in parts) / sum(of.windows for of in parts)
    assert scores["mVC8+16"].mean == pytest.approx(mean, abs=1e-12)


def test_windows_of_other_lengths_are_pooled_in_their_order_and_any_two_may_be_asked_for():
    videos = make_videos()
    scores = score(videos, (4, 8, 20))
    assert list(scores.vc()) == [
        *("mVC4", "mVC8", "mVC20", "mVC4_vspw", "mVC8_vspw"),
        *("mVC4+8", "mVC4+8+20"),
    ]
    assert list(scores.vc((8, 4))) == ["mVC8", "mVC4", "mVC8_vspw", "mVC4_vspw", "mVC8+4"]
    assert scores.vc((8, 4))["mVC8+4"] == scores.vc()["mVC4+8"]
    expected = windows(videos, 4, 4) + windows(videos, 8, 8)
    assert scores.vc()["mVC4+8"].mean == pytest.approx(np.mean(expected), abs=1e-12)


def test_a_skipped_frame_takes_its_windows_out_of_every_mean():
    videos = make_videos()
    video = LENGTHS.index(12)
    scores = score(videos, skipped=[(video, 0)]).vc()
    less = {name: of.windows - scores[name].windows for name, of in score(videos).vc().items()}
    assert less == {"mVC8": 0, "mVC16": 0, "mVC8_vspw": 1, "mVC8+16": 1}


def test_file_and_tables_name_all_of_them_with_their_rule_and_the_results_as_ever(tmp_path):
    scores = score(make_videos())
    scores.results().write(tmp_path / "inference" / "vspw_results.json")
    written = json.loads((tmp_path / "inference" / "vspw_results.json").read_text())
    for name, of in scores.vc().items():
        assert written["vc"][name] == {
            "percent": 100 * of.mean,
            "windows": of.windows,
            "rule": of.rule,
        }
        assert written["official"][name] == of.mean
        rounded, unrounded = summary_table(scores), official_table(scores)
        assert name in rounded and f"{100 * of.mean:.2f}" in rounded and of.rule in rounded
        assert f"| {name} " in unrounded and f"{of.mean:.15g}" in unrounded
    assert written["windows"] == {"mVC8": 21, "mVC16": 5}
    assert "mVC8_vspw" not in written["sem_seg"] and "mVC8+16" not in scores.results().sem_seg
    curves = scores.results().curves(all_vc=True)["sem_seg"]
    assert curves["mVC8+16"] == written["vc"]["mVC8+16"]["percent"]
    (read,) = read_results(tmp_path).scores.values()
    assert {name: read[name] for name in scores.vc()} == {
        name: 100 * of.mean for name, of in scores.vc().items()
    }
    assert list(read) == list(METRICS)


def test_a_file_of_before_has_no_number_where_it_names_none(tmp_path):
    path = tmp_path / "inference" / "vspw_results.json"
    score(make_videos()).results().write(path)
    content = json.loads(path.read_text())
    del content["vc"]
    path.write_text(json.dumps(content))
    (read,) = read_results(tmp_path).scores.values()
    assert read["mVC8"] == content["sem_seg"]["mVC8"]
    assert math.isnan(read["mVC8+16"]) and math.isnan(read["mVC8_vspw"])
