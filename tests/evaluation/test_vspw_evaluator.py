"""VSPWEvaluator: records and logits in, VSPW's official numbers out, in one process and in two."""

import json
import logging
import math
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.utils import comm
from PIL import Image
from warm_process import ROOT

from cffm_plugin.data.images import LabelMapping, read_mask
from cffm_plugin.evaluation import VSPWEvaluator

GOLDEN = ROOT / "tests" / "golden"
DATASET = "cffm_test_vspw_evaluator"
NUM_CLASSES = 5
SIZE = (6, 8)
LOADER_HINT = "build_clip_test_loader"


def register(num_classes=NUM_CLASSES, **entries):
    """(Re-)register the test dataset's metadata. An entry of None is left out."""
    metadata = {
        "stuff_classes": [f"class {k}" for k in range(num_classes)],
        "stuff_colors": [(k, 2 * k % 256, 255 - k) for k in range(num_classes)],
        "label_mapping": LabelMapping.shifted_by_one(num_classes),
    } | entries
    unregister()
    MetadataCatalog.get(DATASET).set(**{k: v for k, v in metadata.items() if v is not None})


def unregister():
    if DATASET in MetadataCatalog.list():
        MetadataCatalog.remove(DATASET)


@pytest.fixture(autouse=True)
def dataset():
    register()
    yield
    unregister()


def write_video(folder, video_id, masks):
    """Write raw masks (L, H, W) as PNGs and return the video's test records."""
    directory = folder / video_id / "mask"
    directory.mkdir(parents=True)
    records = []
    for i, mask in enumerate(masks):
        if mask is not None:
            Image.fromarray(mask).save(directory / f"{i:08d}.png")
        records.append(
            {
                "video_id": video_id,
                "frame_index": i,
                "num_frames": len(masks),
                "file_name": str(folder / video_id / "origin" / f"{i:08d}.jpg"),
                "sem_seg_file_name": None if mask is None else str(directory / f"{i:08d}.png"),
            }
        )
    return records


def output_for(prediction, num_classes=NUM_CLASSES):
    """Logits (K, H, W) whose argmax is ``prediction`` (H, W)."""
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(prediction).long(), num_classes)
    return {"sem_seg": one_hot.permute(2, 0, 1).float()}


def feed(evaluator, records, predictions, num_classes=NUM_CLASSES):
    for record, prediction in zip(records, predictions, strict=True):
        evaluator.process([record], [output_for(prediction, num_classes)])


def random_labels(seed, num_frames, low, high, size=SIZE):
    """(L, H, W) uint8 in low..high - 1, of which about a twentieth changes from frame to frame."""
    rng = np.random.RandomState(seed)
    frames = [rng.randint(low, high, size)]
    for _ in range(num_frames - 1):
        fresh = rng.randint(low, high, size)
        frames.append(np.where(rng.rand(*size) < 0.05, fresh, frames[-1]))
    return np.array(frames, dtype=np.uint8)


def make_videos(folder, lengths):
    """video_id -> (records, predictions), random, with void."""
    return {
        f"video{i}": (
            write_video(folder, f"video{i}", random_labels(i, length, 0, NUM_CLASSES + 1)),
            random_labels(100 + i, length, 0, NUM_CLASSES),
        )
        for i, length in enumerate(lengths)
    }


def blank(num_frames, value=0, size=SIZE):
    return np.full((num_frames, *size), value, dtype=np.uint8)


def strict_json(path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def assert_same_bits(results, expected):
    assert list(results) == list(expected)
    assert np.array(list(results.values())).tobytes() == np.array(list(expected.values())).tobytes()


# --- The official numbers -------------------------------------------------------------------


def test_results_equal_the_official_ones(tmp_path):
    golden = json.loads((GOLDEN / "metrics.json").read_text())
    num_classes = golden["num_classes"]
    register(num_classes)
    evaluator = VSPWEvaluator(DATASET, output_dir=tmp_path / "out")
    with np.load(GOLDEN / "metrics.npz") as arrays:
        for i in range(len(golden["lengths"])):
            records = write_video(tmp_path, f"video{i}", arrays[f"label{i}"])
            feed(evaluator, records, arrays[f"pred{i}"], num_classes)
    results = evaluator.evaluate()

    def percent(scope):
        names = {"mIoU": "mIoU", "fwIoU": "fwIoU", "mACC": "class_acc", "pACC": "pixel_acc"}
        return {ours: 100 * golden[scope][official] for ours, official in names.items()}

    def close(expected):
        return pytest.approx(expected, rel=0, abs=1e-9)

    assert isinstance(results, OrderedDict) and list(results) == ["sem_seg", "temporal"]
    scores = results["sem_seg"]
    assert {k: scores[k] for k in ("mIoU", "fwIoU", "mACC", "pACC")} == close(percent("all_videos"))
    assert [scores["mVC8"], scores["mVC16"]] == close([100 * golden["mVC8"], 100 * golden["mVC16"]])
    written = strict_json(tmp_path / "out" / "vspw_results.json")
    strict = written["strict"]["over_windows"]
    assert results["temporal"] == {f"TA{n}": strict[f"temporal_accuracy{n}"] for n in (8, 16)}
    assert written["videos_longer_than_16"] == close(percent("videos_longer_than_16"))
    for i, per_video in enumerate(golden["per_video"]):
        for n in ("8", "16"):
            expected = math.nan if per_video is None else 100 * per_video[n]
            got = written["per_video"][f"video{i}"][f"VC{n}"]
            assert got is None if math.isnan(expected) else got == close(expected)


def test_results_hold_the_contract_keys_in_order_and_plain_floats(tmp_path):
    evaluator = VSPWEvaluator(DATASET)
    for records, predictions in make_videos(tmp_path, [17]).values():
        feed(evaluator, records, predictions)
    scores = evaluator.evaluate()["sem_seg"]
    names = [f"IoU-class {k}" for k in range(NUM_CLASSES)]
    assert list(scores) == ["mIoU", "fwIoU", "mACC", "pACC", "mVC8", "mVC16", *names]
    assert {type(score) for score in scores.values()} == {float}


def test_a_perfect_prediction_scores_100_and_absent_classes_nan(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    masks = blank(17, value=1)  # class 0
    masks[:, 0] = 3  # class 2
    evaluator = VSPWEvaluator(DATASET)
    for record, prediction in zip(write_video(tmp_path, "v", masks), masks - 1):
        logits = output_for(prediction)["sem_seg"].to(torch.bfloat16)
        evaluator.process([record], [{"sem_seg": logits}])
    scores = evaluator.evaluate()["sem_seg"]
    for name in ("mIoU", "fwIoU", "mACC", "pACC", "mVC8", "mVC16", "IoU-class 0", "IoU-class 2"):
        assert scores[name] == 100
    assert math.isnan(scores["IoU-class 1"])
    # Class 2 has one row of SIZE in each of 17 frames: 8 * 17 pixels.
    assert "class 2 | 100.00 | 100.00" in " ".join(caplog.text.split())
    assert str(8 * 17) in caplog.text


def test_reset_forgets_all_videos(tmp_path):
    evaluator = VSPWEvaluator(DATASET)
    videos = make_videos(tmp_path, [20, 18])
    feed(evaluator, *videos["video1"])
    expected = evaluator.evaluate()["sem_seg"]
    evaluator.reset()
    feed(evaluator, *videos["video0"])
    feed(evaluator, videos["video1"][0][:3], videos["video1"][1][:3])
    evaluator.reset()
    feed(evaluator, *videos["video1"])
    assert_same_bits(evaluator.evaluate()["sem_seg"], expected)


def test_order_of_videos_and_batch_size_change_no_bit_of_the_results(tmp_path):
    videos = list(make_videos(tmp_path, [20, 12, 31, 17]).values())
    forward, backward = VSPWEvaluator(DATASET), VSPWEvaluator(DATASET)
    for records, predictions in videos:
        feed(forward, records, predictions)
    records = [r for video in reversed(videos) for r in video[0]]
    predictions = [p for video in reversed(videos) for p in video[1]]
    for i in range(0, len(records), 7):  # batches across the borders of videos
        outputs = [output_for(p) for p in predictions[i : i + 7]]
        backward.process(records[i : i + 7], outputs)
    assert_same_bits(backward.evaluate()["sem_seg"], forward.evaluate()["sem_seg"])


def test_state_does_not_grow_with_the_video(tmp_path):
    size = (120, 160)
    record = write_video(tmp_path, "v", blank(1, value=1, size=size))[0]
    evaluator = VSPWEvaluator(DATASET)
    predictions = [output_for(blank(1, value=k, size=size)[0]) for k in (0, 1)]
    sizes = []
    for i in range(300):
        evaluator.process(
            [{**record, "frame_index": i, "num_frames": 300}], [predictions[i // 20 % 2]]
        )
        sizes.append(len(pickle.dumps(vars(evaluator))))
    # From frame 50 on only the windows' scores are added, 2 floats a frame: less than one label
    # map of 120 * 160 bytes over 250 frames.
    assert max(sizes[50:]) - sizes[50] < 120 * 160
    assert sizes[-1] < 2 * 120 * 160  # when the video is over, its label maps are gone
    # The prediction alternates every 20 frames, right first: right in 8 of the 15 stretches.
    assert evaluator.evaluate()["sem_seg"]["pACC"] == pytest.approx(100 * 8 / 15)


# --- Ground truth that is missing, foreign or wrong -----------------------------------------


@pytest.mark.parametrize("video_id", ["../esc", "a/../../esc", "{outside}", "v\nw", "./v"])
def test_predictions_of_videos_named_to_escape_are_written_nowhere(tmp_path, video_id):
    records = write_video(tmp_path, "v", blank(1, 1))
    record = records[0] | {"video_id": video_id.format(outside=tmp_path / "outside")}
    evaluator = VSPWEvaluator(DATASET, output_dir=tmp_path / "out", save_predictions=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="files are named after it"):
        feed(evaluator, [record], blank(1))
    assert sorted(tmp_path.rglob("*")) == before


def test_predictions_are_not_written_through_a_link_out_of_their_folder(tmp_path):
    records = write_video(tmp_path, "v", blank(1, 1))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "result_submission").mkdir(parents=True)
    (tmp_path / "out" / "result_submission" / "v").symlink_to(tmp_path / "elsewhere")
    evaluator = VSPWEvaluator(DATASET, output_dir=tmp_path / "out", save_predictions=True)
    with pytest.raises(ValueError, match=r"result_submission/v: is a link that leads out"):
        feed(evaluator, records, blank(1))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_without_any_ground_truth_results_are_empty_and_predictions_are_written(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    records = write_video(tmp_path, "v", [None, None])
    del records[1]["sem_seg_file_name"]  # absent is as good as None
    evaluator = VSPWEvaluator(DATASET, output_dir=tmp_path / "out", save_predictions=True)
    feed(evaluator, records, blank(2))
    results = evaluator.evaluate()
    assert isinstance(results, OrderedDict) and not results
    assert "none of the 2 frames has ground truth" in caplog.text
    assert len(list((tmp_path / "out" / "result_submission" / "v").iterdir())) == 2


def test_frames_without_ground_truth_count_nowhere(tmp_path):
    masks = list(blank(24, value=1))  # of the windows of 16 at 0..7, those at 4..7 miss frame 3
    masks[3] = None
    predictions = blank(24)
    predictions[3] = 4  # wrong and inconsistent, if anyone asked
    evaluator = VSPWEvaluator(DATASET)
    feed(evaluator, write_video(tmp_path, "v", masks), predictions)
    scores = evaluator.evaluate()["sem_seg"]
    assert scores["pACC"] == scores["mVC8"] == scores["mVC16"] == 100


def sparse_masks(masks, labelled):
    return [mask if i in labelled else None for i, mask in enumerate(masks)]


def test_with_every_third_frame_labelled_the_scores_are_those_by_hand(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    # Frames 0, 3, ..., 18, of 48 pixels each, are labelled: 6 of class 0, frame 12 of class 2. The
    # predictions of the others would spoil every score.
    masks = blank(20, value=1)
    masks[12] = 3
    predictions = blank(20, value=4)
    predictions[0:19:3] = 0
    predictions[3, :3] = 1  # 24 pixels wrong
    predictions[12, 1:] = 2  # and 8, which are taken for class 0
    evaluator = VSPWEvaluator(DATASET, output_dir=tmp_path / "out")
    feed(evaluator, write_video(tmp_path, "v", sparse_masks(masks, range(0, 20, 3))), predictions)
    scores = evaluator.evaluate()["sem_seg"]
    # Class 0: 6 * 48 pixels, of which 24 are missed, and 8 of another class. Class 2: 40 of 48.
    iou_0, iou_2 = (6 * 48 - 24) / (6 * 48 + 8), 40 / 48
    expected = {
        "IoU-class 0": iou_0,
        "IoU-class 2": iou_2,
        "mIoU": (iou_0 + iou_2) / 2,
        "fwIoU": (6 * iou_0 + iou_2) / 7,
        "mACC": ((6 * 48 - 24) / (6 * 48) + 40 / 48) / 2,
        "pACC": (7 * 48 - 24 - 8) / (7 * 48),
    }
    assert {k: scores[k] for k in expected} == pytest.approx(
        {k: 100 * v for k, v in expected.items()}
    )
    for n in (8, 16):
        assert math.isnan(scores[f"mVC{n}"])
        why = f"mVC{n} is undefined: no {n} consecutive frames are labelled and predicted (at most"
        assert f"{why} 1 are)" in caplog.text
    assert "7 of 20 frames with ground truth; windows: mVC8 over 0, mVC16 over 0" in caplog.text
    written = strict_json(tmp_path / "out" / "vspw_results.json")
    assert (written["frames"], written["scored_frames"]) == (20, 7)
    assert written["windows"] == {"mVC8": 0, "mVC16": 0}


def test_vc_runs_over_consecutive_labelled_frames_and_says_how_many_windows_it_had(
    tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    # Of the windows of 8 of 20 frames, those at 0 and 1 are labelled throughout.
    labelled = (*range(9), 12, 15, 18)
    predictions = blank(20)
    predictions[8, :3] = 1  # half of the pixels change in the last frame of window 1
    predictions[9:12] = 4
    evaluator = VSPWEvaluator(DATASET, output_dir=tmp_path / "out")
    masks = sparse_masks(blank(20, value=1), labelled)
    feed(evaluator, write_video(tmp_path, "v", masks), predictions)
    feed(evaluator, write_video(tmp_path, "w", masks[:9]), predictions[:9])  # too short a video
    scores = evaluator.evaluate()["sem_seg"]
    assert scores["mVC8"] == 100 * (1 + 0.5) / 2
    assert "mVC8 over 2, mVC16 over 0" in caplog.text and "mVC8 is undefined" not in caplog.text
    assert "mVC16 is undefined: no 16 consecutive frames are labelled and predicted" in caplog.text
    assert "(at most 9 are)" in caplog.text
    written = strict_json(tmp_path / "out" / "vspw_results.json")
    assert written["windows"] == {"mVC8": 2, "mVC16": 0}
    # The strict scores count the short video's two windows too.
    assert written["strict"]["windows"] == {
        "strict_VC8": 4,
        "strict_VC16": 0,
        "temporal_accuracy8": 4,
        "temporal_accuracy16": 0,
    }
    assert written["strict"]["over_windows"]["strict_VC8"] == 75


def test_of_a_sparsely_labelled_video_too_the_last_window_is_left_out(tmp_path, caplog):
    evaluator = VSPWEvaluator(DATASET, output_dir=tmp_path / "out")
    masks = sparse_masks(blank(20, value=1), range(12, 20))
    feed(evaluator, write_video(tmp_path, "v", masks), blank(20))
    assert math.isnan(evaluator.evaluate()["sem_seg"]["mVC8"])
    assert "mVC8 is undefined: no window of 8 frames counts" in caplog.text
    written = strict_json(tmp_path / "out" / "vspw_results.json")
    assert written["windows"]["mVC8"] == 0
    assert written["strict"]["windows"]["strict_VC8"] == 1


def test_videos_of_16_frames_have_no_vc_and_a_warning_says_why(tmp_path, caplog):
    evaluator = VSPWEvaluator(DATASET, output_dir=tmp_path / "out")
    feed(evaluator, write_video(tmp_path, "v", blank(16, value=1)), blank(16))
    scores = evaluator.evaluate()["sem_seg"]
    assert scores["mIoU"] == 100
    assert math.isnan(scores["mVC8"]) and math.isnan(scores["mVC16"])
    for n in (8, 16):
        assert f"mVC{n} is undefined" in caplog.text
    assert "16 frames or fewer (1 of these 1)" in caplog.text
    written = strict_json(tmp_path / "out" / "vspw_results.json")
    assert written["per_video"]["v"] == {"num_frames": 16, "VC8": None, "VC16": None}
    assert written["videos_longer_than_16"]["mIoU"] is None


def test_ground_truth_of_nothing_but_void_gives_nan_and_a_warning(tmp_path, caplog):
    evaluator = VSPWEvaluator(DATASET)
    feed(evaluator, write_video(tmp_path, "v", blank(17)), blank(17))
    scores = evaluator.evaluate()["sem_seg"]
    assert math.isnan(scores["mIoU"])
    assert "every pixel is void" in caplog.text
    assert scores["mVC8"] == 100  # void that stays void is constant truth


def test_foreign_values_count_as_void_and_are_warned_of_once_per_video(tmp_path, caplog):
    def masks(void):
        frames = random_labels(0, 18, 1, NUM_CLASSES + 1)
        frames[2:, 0, :3] = void
        return frames

    expected, got = VSPWEvaluator(DATASET), VSPWEvaluator(DATASET)
    predictions = random_labels(1, 18, 0, NUM_CLASSES)
    for video in ("a", "b"):
        feed(expected, write_video(tmp_path / "void", video, masks(255)), predictions)
        assert not caplog.records
    for video in ("a", "b"):
        feed(got, write_video(tmp_path / "foreign", video, masks(252)), predictions)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    for video, warning in zip(("a", "b"), warnings):
        assert str(tmp_path / "foreign" / video / "mask" / "00000002.png") in warning
        assert "252" in warning and "void" in warning
    assert_same_bits(got.evaluate()["sem_seg"], expected.evaluate()["sem_seg"])


SMALL = blank(1, size=(3, 4))


@pytest.mark.parametrize(
    ("masks", "prediction", "num_classes", "message"),
    [
        (blank(2, value=1), SMALL, NUM_CLASSES, "some_video, frame 1 .*3x4.*6x8"),
        ([blank(1)[0], SMALL[0]], SMALL, NUM_CLASSES, "some_video, frame 1 .*the same size"),
        (blank(2), blank(1), 9, rf"K = {NUM_CLASSES}.*\(9, 6, 8\)"),
    ],
    ids=["another_size_than_its_mask", "a_mask_of_another_size", "another_number_of_classes"],
)
def test_a_prediction_of_another_shape_is_an_error(
    tmp_path, masks, prediction, num_classes, message
):
    records = write_video(tmp_path, "some_video", masks)
    evaluator = VSPWEvaluator(DATASET)
    feed(evaluator, records[:1], blank(1))
    with pytest.raises(ValueError, match=message):
        feed(evaluator, records[1:], prediction, num_classes)


# --- Whole videos, in order -----------------------------------------------------------------


@pytest.mark.parametrize(
    "order",
    [[1, 0, 2], [0, 2, 1], [0, 0, 1, 2], [2], [0, 1, 2, 0]],
    ids=["swapped", "skipped", "repeated", "begins late", "twice"],
)
def test_frames_out_of_order_are_an_error_that_names_the_video_and_the_loader(tmp_path, order):
    records = write_video(tmp_path, "some_video", blank(3, value=1))
    with pytest.raises(RuntimeError, match=f"(?s)some_video.*{LOADER_HINT}"):
        feed(VSPWEvaluator(DATASET), [records[i] for i in order], blank(len(order)))


def test_records_that_make_no_whole_video_are_errors(tmp_path):
    first, second = (write_video(tmp_path, name, blank(3)) for name in ("first", "second"))
    cut = f"first was cut short: 2 of its 3.*{LOADER_HINT}.*second"
    with pytest.raises(RuntimeError, match=cut):
        feed(VSPWEvaluator(DATASET), first[:2] + second, blank(5))
    first[1]["num_frames"] = 2
    with pytest.raises(RuntimeError, match="frame 1 of 3 .*got frame 1 of 2"):
        feed(VSPWEvaluator(DATASET), first, blank(3))
    with pytest.raises(ValueError, match="lacks frame_index, num_frames, video_id"):
        feed(VSPWEvaluator(DATASET), [{"file_name": "a.jpg"}], blank(1))


def test_a_video_cut_short_at_the_end_is_an_error_of_evaluate(tmp_path):
    records = write_video(tmp_path, "some_video", blank(5))
    evaluator = VSPWEvaluator(DATASET)
    feed(evaluator, records[:4], blank(4))
    with pytest.raises(RuntimeError, match=f"some_video was cut short: 4 of its 5.*{LOADER_HINT}"):
        evaluator.evaluate()
    feed(evaluator, records[4:], blank(1))
    assert evaluator.evaluate()


# --- Files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [2, 5, 124])  # PNGs of 1, 4 and 8 bits
def test_saved_predictions_are_palette_pngs_that_read_back_as_class_indices(tmp_path, num_classes):
    register(num_classes)
    predictions = random_labels(0, 2, 0, num_classes)
    evaluator = VSPWEvaluator(DATASET, output_dir=tmp_path / "out", save_predictions=True)
    feed(evaluator, write_video(tmp_path, "v", blank(2)), predictions, num_classes)
    for i, prediction in enumerate(predictions):
        path = tmp_path / "out" / "result_submission" / "v" / f"{i:08d}.png"
        np.testing.assert_array_equal(read_mask(path), prediction)
        with Image.open(path) as image:
            assert image.mode == "P"
            colors = np.array(MetadataCatalog.get(DATASET).stuff_colors)
            np.testing.assert_array_equal(np.array(image.convert("RGB")), colors[prediction])


def test_nothing_is_written_without_an_output_dir(tmp_path, monkeypatch):
    masks = tmp_path / "masks"
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    evaluator = VSPWEvaluator(DATASET)
    feed(evaluator, write_video(masks, "v", blank(1, value=1)), blank(1))
    assert evaluator.evaluate()
    assert not list((tmp_path / "empty").iterdir())


def test_written_results_are_strict_json_with_null_for_nan(tmp_path):
    evaluator = VSPWEvaluator(DATASET, output_dir=tmp_path / "out")
    feed(evaluator, write_video(tmp_path, "v", blank(17, value=1)), blank(17))
    scores = evaluator.evaluate()["sem_seg"]
    written = strict_json(tmp_path / "out" / "vspw_results.json")
    assert math.isnan(scores["IoU-class 1"])
    assert written["sem_seg"] == {k: None if math.isnan(v) else v for k, v in scores.items()}
    assert written["per_video"] == {"v": {"num_frames": 17, "VC8": 100, "VC16": 100}}
    assert written["official"]["all_videos"]["mIoU"] == scores["mIoU"] / 100 == 1
    assert written["official"]["mVC8"] == 1
    strict = {"strict_VC8", "strict_VC16", "temporal_accuracy8", "temporal_accuracy16"}
    everything = dict.fromkeys(strict, 100)
    assert written["strict"]["over_windows"] == written["strict"]["over_videos"] == everything
    assert written["strict"]["per_video"] == {"v": everything}
    assert written["frames"] == written["scored_frames"] == 17


# --- Metadata -------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["stuff_classes", "label_mapping", "stuff_colors"])
def test_missing_metadata_is_an_error_that_names_the_entry(tmp_path, key):
    register(**{key: None})
    with pytest.raises(ValueError, match=f"'{DATASET}' have no '{key}'"):
        VSPWEvaluator(DATASET, output_dir=tmp_path, save_predictions=True)


@pytest.mark.parametrize(
    "entries, message",
    [
        ({"label_mapping": LabelMapping.shifted_by_one(4)}, "5 stuff_classes.*4 classes"),
        ({"stuff_classes": ["sky"] * 5}, "same name"),
        ({"stuff_colors": [(0, 0, 0)] * 3}, "3 stuff_colors for 5"),
    ],
)
def test_contradictory_metadata_are_an_error(tmp_path, entries, message):
    with pytest.raises(ValueError, match="needs an output_dir"):
        VSPWEvaluator(DATASET, save_predictions=True)
    register(**entries)
    with pytest.raises(ValueError, match=message):
        VSPWEvaluator(DATASET, output_dir=tmp_path, save_predictions=True)


# --- Two processes --------------------------------------------------------------------------

# scenario -> for each process, (video, frames of it that it gets; None for all)
SHARES = {
    "two each": [[("video0", None), ("video2", None)], [("video3", None), ("video1", None)]],
    "all to one": [[], [(f"video{i}", None) for i in range(4)]],
    "same video": [[("video0", None)], [("video0", None), ("video1", None)]],
    "cut short": [[("video0", None)], [("video1", 5)]],
}


def evaluate_in_two_processes(rank, folder, videos):
    """Runs in each process: every scenario, its outcome to <folder>/<scenario>.<rank>."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    register()
    for scenario, shares in SHARES.items():
        evaluator = VSPWEvaluator(DATASET, output_dir=folder / scenario)
        for video, num_frames in shares[rank]:
            records, predictions = videos[video]
            feed(evaluator, records[:num_frames], predictions[:num_frames])
        try:
            outcome = evaluator.evaluate()
        except RuntimeError as error:
            outcome = str(error)
        (folder / f"{scenario}.{rank}").write_bytes(pickle.dumps(outcome))
    comm._get_global_gloo_group.cache_clear()  # or its threads outlive the group, and exit aborts
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """scenario -> the outcomes of the two processes; and the videos they shared."""
    folder = tmp_path_factory.mktemp("two_processes")
    videos = make_videos(folder, [20, 12, 31, 17])
    start = torch.multiprocessing.start_processes
    start(evaluate_in_two_processes, (folder, videos), nprocs=2, start_method="forkserver")
    outcomes = {
        scenario: [pickle.loads((folder / f"{scenario}.{rank}").read_bytes()) for rank in (0, 1)]
        for scenario in SHARES
    }
    return outcomes, videos, folder


@pytest.mark.slow(reason="two processes start")
@pytest.mark.parametrize("scenario", ["two each", "all to one"])
def test_sharing_the_videos_changes_no_bit_of_the_results(two_processes, tmp_path, scenario):
    outcomes, videos, folder = two_processes
    alone = VSPWEvaluator(DATASET, output_dir=tmp_path, distributed=False)
    for records, predictions in videos.values():
        feed(alone, records, predictions)
    main, other = outcomes[scenario]
    assert_same_bits(main["sem_seg"], alone.evaluate()["sem_seg"])
    assert other is None
    name = "vspw_results.json"
    assert (folder / scenario / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ("same video", "Two processes got video video0"),
        ("cut short", "video1 was cut short: 5 of its 12"),
    ],
)
def test_a_video_shared_or_cut_short_in_one_process_is_an_error_of_both(
    two_processes, scenario, said
):
    for message in two_processes[0][scenario]:
        assert said in message and LOADER_HINT in message
