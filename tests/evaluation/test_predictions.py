"""Folders of prediction PNGs: official numbers, strict ones, and folders that do not fit."""

import json
import logging
import math
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import warm_process
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from cffm_plugin.cli.score import main as score_command
from cffm_plugin.data import Dataset, load_vspw, register_vspw
from cffm_plugin.evaluation import VSPWEvaluator, score_predictions
from cffm_plugin.evaluation import predictions as predictions_module

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
COMMAND = ("-m", "cffm_command", "score")
NUM_CLASSES = 5
SIZE = (6, 8)


def write_dataset(root, videos, split="val"):
    """Write raw masks, video -> (L, H, W), None for a frame without one, in VSPW's layout."""
    for video, masks in videos.items():
        for folder in ("origin", "mask"):
            (root / "data" / video / folder).mkdir(parents=True)
        for i, mask in enumerate(masks):
            frame = Image.new("L", SIZE[::-1])
            frame.save(root / "data" / video / "origin" / f"{i:08d}.png")
            if mask is not None:
                Image.fromarray(mask).save(root / "data" / video / "mask" / f"{i:08d}.png")
    (root / f"{split}.txt").write_text("\n".join(videos))
    return root


def write_predictions(folder, videos):
    """Write video -> (L, H, W) as PNGs."""
    for video, predictions in videos.items():
        (folder / video).mkdir(parents=True)
        for i, prediction in enumerate(predictions):
            Image.fromarray(prediction).save(folder / video / f"{i:08d}.png")
    return folder


def random_labels(seed, num_frames, low, high, size=SIZE):
    """(L, H, W) uint8 in low..high - 1, of which a hundredth changes from frame to frame."""
    rng = np.random.RandomState(seed)
    frames = [rng.randint(low, high, size)]
    for _ in range(num_frames - 1):
        fresh = rng.randint(low, high, size)
        frames.append(np.where(rng.rand(*size) < 0.01, fresh, frames[-1]))
    return np.array(frames, dtype=np.uint8)


def random_videos(lengths):
    """Raw masks with void, and predictions that are right in about half of the pixels."""
    masks, predictions = {}, {}
    for i, length in enumerate(lengths):
        mask = random_labels(i, length, 0, NUM_CLASSES + 1)
        noise = random_labels(100 + i, length, 0, NUM_CLASSES)
        guessed = random_labels(200 + i, length, 0, 2).astype(bool) | (mask == 0)
        masks[f"video{i}"] = mask
        predictions[f"video{i}"] = np.where(guessed, noise, mask - 1).astype(np.uint8)
    return masks, predictions


def score(root, predictions, num_classes=NUM_CLASSES, **options):
    return score_predictions(Dataset.in_folder(root, "val", num_classes), predictions, **options)


def written(scores, folder):
    """The file of results, but for the dataset's name."""
    scores.results().write(folder / "scores.json")
    content = json.loads((folder / "scores.json").read_text())
    del content["dataset"]
    return content


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def small(tmp_path):
    """A dataset of three videos and its predictions."""
    masks, predictions = random_videos([18, 4, 20])
    return (
        write_dataset(tmp_path / "dataset", masks),
        write_predictions(tmp_path / "predictions", predictions),
    )


# --- The official numbers -------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """golden/metrics.json, and its videos as a dataset and a folder of predictions."""
    folder = tmp_path_factory.mktemp("golden")
    expected = json.loads((GOLDEN / "metrics.json").read_text())
    with np.load(GOLDEN / "metrics.npz") as arrays:
        videos = range(len(expected["lengths"]))
        masks = {f"video{i}": arrays[f"label{i}"] for i in videos}
        predictions = {f"video{i}": arrays[f"pred{i}"] for i in videos}
    root = write_dataset(folder / "dataset", masks)
    return expected, root, write_predictions(folder / "predictions", predictions)


@pytest.fixture(scope="module")
def golden_scores(golden):
    _, root, predictions = golden
    return score_predictions(Dataset.in_folder(root, "val"), predictions)


def close(expected):
    return pytest.approx(expected, rel=0, abs=1e-9, nan_ok=True)


def test_scores_equal_the_official_ones_in_both_scopes(golden, golden_scores):
    expected = golden[0]
    scopes = golden_scores.official_segmentation()
    assert list(scopes) == ["all_videos", "videos_longer_than_16"]
    for scope, scores in scopes.items():
        assert scores == close(expected[scope])
    official = {name: vc.mean for name, vc in golden_scores.official_vc().items()}
    assert official == close({k: expected[k] for k in ("mVC8", "mVC16")})
    for i, per_video in enumerate(expected["per_video"]):
        scores = golden_scores.results().per_video[f"video{i}"]
        for n in (8, 16):
            value = math.nan if per_video is None else 100 * per_video[str(n)]
            assert scores[f"VC{n}"] == close(value)


def test_124_classes_have_the_names_of_vspw_and_others_numbers(golden_scores, small):
    assert golden_scores.class_names == tuple(MetadataCatalog.get("vspw_val").stuff_classes)
    assert score(*small).class_names == tuple(f"class_{k}" for k in range(NUM_CLASSES))


def test_the_tool_in_four_processes_prints_and_writes_the_bits_of_one(
    golden, golden_scores, tmp_path
):
    expected, root, predictions = golden
    file = tmp_path / "new folder" / "scores.json"
    command = [*COMMAND, "--dataset-root", root, "--split", "val"]
    command += ["--predictions", predictions, "--json", file, "--jobs", "4"]
    result = warm_process.run(command)
    assert result.returncode == 0, result.stderr
    golden_scores.results().write(tmp_path / "one_process.json")
    assert file.read_bytes() == (tmp_path / "one_process.json").read_bytes()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()]
    for name in ("pixel_acc", "class_acc", "mIoU", "fwIoU"):
        scopes = (expected["all_videos"], expected["videos_longer_than_16"])
        assert [name, *(f"{scope[name]:.15g}" for scope in scopes)] in rows
    for name in ("mVC8", "mVC16"):
        assert [name, *[f"{expected[name]:.15g}"] * 2] in rows
    assert "135 of 135 frames" in result.stdout  # 30 + 17 + 20 + 40 + 16 + 12
    assert {"wall", "strict_VC8", "temporal_accuracy16"} <= {row[0] for row in rows if row}


# --- The evaluator's numbers ----------------------------------------------------------------


def evaluate(root, masks, predictions, output_dir, left_out=()):
    """Run ``VSPWEvaluator``; frames in ``left_out``, (video, index), have no ground truth."""
    name = "cffm_test_predictions"
    classes = [f"class_{k}" for k in range(NUM_CLASSES)]
    register_vspw(name, root, "val", classes=classes)
    try:
        evaluator = VSPWEvaluator(name, output_dir=output_dir, save_predictions=True)
        for record in load_vspw(root, "val"):
            frame = record["video_id"], record["frame_index"]
            if frame in left_out:
                record = {**record, "sem_seg_file_name": None}
            label_map = torch.from_numpy(predictions[frame[0]][frame[1]])
            logits = torch.nn.functional.one_hot(label_map.long(), NUM_CLASSES).permute(2, 0, 1)
            evaluator.process([record], [{"sem_seg": logits.float()}])
        evaluator.evaluate()
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    content = json.loads((output_dir / "vspw_results.json").read_text())
    del content["dataset"]
    return content


def test_scores_of_what_the_evaluator_saved_are_the_evaluators_own(tmp_path):
    masks, predictions = random_videos([20, 7, 17, 16])
    masks["video2"][4, 0] = 252  # foreign values are void to both
    root = write_dataset(tmp_path / "dataset", masks)
    expected = evaluate(root, masks, predictions, tmp_path / "out")
    got = score(root, tmp_path / "out" / "result_submission")
    assert written(got, tmp_path) == expected
    assert not math.isnan(got.results().sem_seg["mVC16"])


def test_partial_scores_are_the_evaluators_without_ground_truth_in_those_frames(tmp_path, caplog):
    masks, predictions = random_videos([20, 3, 40])
    root = write_dataset(tmp_path / "dataset", masks)
    folder = write_predictions(tmp_path / "predictions", predictions)
    (folder / "video0" / "00000012.png").unlink()
    shutil.rmtree(folder / "video1")
    Image.new("L", (3, 3)).save(folder / "video2" / "00000009.png")
    (folder / "video2" / "00000017.png").write_bytes(b"not a picture")
    left_out = {("video0", 12), ("video2", 9), ("video2", 17), *(("video1", i) for i in range(3))}
    expected = evaluate(root, masks, predictions, tmp_path / "out", left_out)
    got = score(root, folder, partial=True)
    assert written(got, tmp_path) == expected
    assert (got.frames, got.scored_frames) == (63, 57)
    (warning,) = warnings_of(caplog)
    assert "6 of 63 frames are left out" in warning


# --- The strict scores ----------------------------------------------------------------------


def brute_force(masks, predictions, n):
    """Strict VC and temporal accuracy of every window of n frames, as their definition words it."""
    vc, accuracy = [], []
    for i in range(len(masks) - n + 1):
        truth, predicted = masks[i : i + n].astype(int) - 1, predictions[i : i + n]
        labelled = (truth == truth[0]).all(axis=0) & (truth[0] >= 0)
        if labelled.any():
            vc.append((predicted == predicted[0]).all(axis=0)[labelled].mean())
            accuracy.append((predicted == truth).all(axis=0)[labelled].mean())
    return {f"strict_VC{n}": vc, f"temporal_accuracy{n}": accuracy}


def test_strict_scores_equal_cutting_out_every_window_of_every_video(tmp_path):
    masks, predictions = random_videos([5, 8, 16, 17, 23])
    scores = score(
        write_dataset(tmp_path / "dataset", masks),
        write_predictions(tmp_path / "predictions", predictions),
    ).strict()
    windows = {
        video: brute_force(masks[video], predictions[video], 8)
        | brute_force(masks[video], predictions[video], 16)
        for video in masks
    }
    names = ["strict_VC8", "strict_VC16", "temporal_accuracy8", "temporal_accuracy16"]
    assert list(scores["over_windows"]) == list(scores["over_videos"]) == names
    for name in names:
        pooled = [score for video in windows.values() for score in video[name]]
        means = {v: np.mean(w[name]) for v, w in windows.items() if w[name]}
        assert 0 < np.mean(pooled) < 1
        assert scores["over_windows"][name] == close(100 * np.mean(pooled))
        assert scores["over_videos"][name] == close(100 * np.mean(list(means.values())))
        for video in masks:
            assert scores["per_video"][video][name] == close(100 * means.get(video, math.nan))
    # Of 5, 8, 16, 17 and 23 frames, the last three have a window of 16: 1 + 2 + 8 of them.
    assert len([s for video in windows.values() for s in video["strict_VC16"]]) == 11


# --- Folders that do not fit ----------------------------------------------------------------


def colour(path):
    Image.new("RGB", SIZE[::-1]).save(path)


def sixteen_bits(path):
    Image.fromarray(np.zeros(SIZE, np.uint16)).save(path)


def jpeg(path):
    Image.new("L", SIZE[::-1]).save(path, format="JPEG")


def other_size(path):
    Image.new("L", (4, 3)).save(path)


def turned(path):
    """A PNG whose header has its mask's size, but whose EXIF says to turn it by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", SIZE[::-1]).save(path, exif=exif)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    "spoil, message",
    [
        (Path.unlink, r"1 missing prediction\(s\): video0/00000002.png"),
        (colour, r"1 file\(s\) that are not an index PNG .*: video0/00000002.png \(mode RGB\)"),
        (sixteen_bits, r"not an index PNG .*: video0/00000002.png \(mode I;16\)"),
        (jpeg, r"not an index PNG .*: video0/00000002.png \(damaged, or no PNG\)"),
        (truncated, r"not an index PNG .*: video0/00000002.png \(damaged"),
        (other_size, r"another size .*: video0/00000002.png \(3x4, mask 6x8\)"),
        (turned, r"another size .*: video0/00000002.png \(8x6, mask 6x8\)"),
    ],
)
def test_a_prediction_that_cannot_be_scored_is_an_error_unless_partial(
    small, caplog, spoil, message
):
    root, folder = small
    spoil(folder / "video0" / "00000002.png")
    with pytest.raises(ValueError, match=message) as error:
        score(root, folder)
    assert "42 frames with masks in 3 videos" in str(error.value)
    assert "--partial" in str(error.value)
    assert score(root, folder, partial=True).scored_frames == 41
    assert "1 of 42 frames are left out" in caplog.text


def test_what_headers_tell_is_told_before_any_pixel_is_read(small, monkeypatch):
    def refuse(_):
        raise AssertionError("read pixels")

    root, folder = small
    other_size(folder / "video2" / "00000019.png")
    monkeypatch.setattr(predictions_module, "read_mask", refuse)
    with pytest.raises(ValueError, match="another size"):
        score(root, folder)


def test_missing_videos_and_what_is_too_much_are_listed_by_name(small, caplog):
    root, folder = small
    shutil.rmtree(folder / "video1")
    for extra in ("video0/00000018.png", "stray.png", "video9/00000000.png"):
        (folder / extra).parent.mkdir(exist_ok=True)
        Image.new("L", SIZE[::-1]).save(folder / extra)
    with pytest.raises(ValueError, match=r"1 video\(s\) without any prediction: video1 \(4 ") as e:
        score(root, folder)
    assert "1 folder(s) that are no video of the split: video9\n" in str(e.value)
    assert "2 PNG(s) that are no frame of the split: video0/00000018.png, stray.png" in str(e.value)
    assert score(root, folder, partial=True).scored_frames == 38
    assert "4 of 42 frames are left out" in caplog.text


def test_extra_files_alone_are_an_error_unless_partial_and_change_no_score(small, tmp_path):
    root, folder = small
    expected = written(score(root, folder), tmp_path)
    (folder / "scores.json").touch()  # it and hidden files do not matter
    (folder / ".cache").mkdir()
    (folder / "video0" / "._00000000.png").touch()
    assert score(root, folder).scored_frames == 42
    Image.new("L", SIZE[::-1]).save(folder / "video0" / "extra.png")
    with pytest.raises(ValueError, match="video0/extra.png"):
        score(root, folder)
    assert written(score(root, folder, partial=True), tmp_path) == expected
    for i in range(9):
        (folder / "video0" / f"{i:08d}.png").unlink()
    with pytest.raises(ValueError, match="9 missing.*00000004.png and 4 more\n"):
        score(root, folder)


def test_a_folder_without_any_prediction_is_an_error_even_if_partial(small, tmp_path):
    root, folder = small
    (tmp_path / "inference").mkdir()
    folder.rename(tmp_path / "inference" / "result_submission")
    with pytest.raises(ValueError, match=r"Did you mean .*inference/result_submission\?"):
        score(root, tmp_path / "inference", partial=True)
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder"):
        score(root, tmp_path / "nowhere")


def test_frames_without_masks_need_no_prediction(tmp_path, caplog):
    masks, predictions = random_videos([17])
    root = write_dataset(tmp_path / "dataset", {**masks, "unlabelled": [None] * 3}, split="test")
    folder = write_predictions(tmp_path / "predictions", predictions)
    scores = score_predictions(Dataset.in_folder(root, "test", NUM_CLASSES), folder)
    assert (scores.frames, scores.scored_frames) == (20, 17)
    assert "3 of 20 frames have no mask" in caplog.text
    (root / "test.txt").write_text("unlabelled")
    with pytest.raises(ValueError, match="no frame of its videos has a mask"):
        score_predictions(Dataset.in_folder(root, "test", NUM_CLASSES), folder)


# --- Values ---------------------------------------------------------------------------------


def test_predicted_values_that_are_no_class_are_misses_and_warned_of(tmp_path, caplog):
    masks = {"v": np.full((17, *SIZE), 1, np.uint8)}  # class 0
    masks["v"][:, :2] = 255
    predictions = {"v": np.zeros((17, *SIZE), np.uint8)}
    predictions["v"][:, 0] = 77  # on void
    predictions["v"][3, 2] = NUM_CLASSES
    root = write_dataset(tmp_path / "dataset", masks)
    scores = score(root, write_predictions(tmp_path / "predictions", predictions))
    # 17 frames of 4 labelled rows of 8 pixels, of which one row is a miss.
    assert scores.results().sem_seg["pACC"] == close(100 * (1 - 1 / (17 * 4)))
    (warning,) = warnings_of(caplog)
    assert "17 of 17 predictions hold values outside 0..4: 5, 77" in warning
    assert "8 of 544 labelled" in warning and "--one-based" in warning


def test_one_based_predictions_score_like_the_same_from_zero(small, tmp_path, caplog):
    root, folder = small
    for path in folder.rglob("*.png"):
        stored = np.array(Image.open(path)) + 1
        (tmp_path / "one_based" / path.parent.name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(stored).save(tmp_path / "one_based" / path.parent.name / path.name)
    got = score(root, tmp_path / "one_based", one_based=True)
    assert written(got, tmp_path) == written(score(root, folder), tmp_path)
    assert not warnings_of(caplog)
    score(root, folder, one_based=True)
    assert "outside 1..5: 0. " in caplog.text


def test_foreign_values_in_masks_are_void_and_warned_of(tmp_path, caplog):
    masks, predictions = random_videos([17, 18])
    folder = write_predictions(tmp_path / "predictions", predictions)
    masks["video1"][2:, 0] = 255
    expected = score(write_dataset(tmp_path / "void", masks), folder)
    assert not warnings_of(caplog)
    masks["video1"][2:, 0] = 252
    got = score(write_dataset(tmp_path / "foreign", masks), folder)
    assert written(got, tmp_path) == written(expected, tmp_path)
    (warning,) = warnings_of(caplog)
    assert "252" in warning and "foreign/data/video1/mask/00000002.png" in warning


@pytest.mark.parametrize("options", [{"num_classes": 0}, {"num_classes": 255}, {"jobs": 0}])
def test_arguments_out_of_range_are_an_error_that_names_them(small, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        score(*small, **options)


# --- Registered datasets --------------------------------------------------------------------


def write_pngs(folder, label_maps):
    folder.mkdir(parents=True)
    for name, labels in label_maps.items():
        Image.fromarray(labels).save(folder / f"{name}.png")


def test_camvid_is_scored_by_its_registered_name(tmp_path, monkeypatch, capsys):
    names = [f"0001TP_{n:06d}" for n in range(3)]
    masks = {name: np.full(SIZE, 2, np.uint8) for name in names}  # of which one row is void
    for mask in masks.values():
        mask[0] = 11
    predictions = {name: np.full(SIZE, 2, np.uint8) for name in names}
    predictions[names[1]][1] = 3
    write_pngs(tmp_path / "CamVid" / "val", {name: np.zeros(SIZE, np.uint8) for name in names})
    write_pngs(tmp_path / "CamVid" / "valannot", masks)
    write_pngs(tmp_path / "predictions" / names[0], predictions)  # named after its first frame
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    arguments = ["--dataset", "camvid_val", "--predictions", tmp_path / "predictions"]
    run_tool(monkeypatch, *arguments, "--jobs", 1, "--json", tmp_path / "scores.json")
    assert "camvid_val: 1 videos, 3 of 3 frames scored" in capsys.readouterr().out
    scores = score_predictions(Dataset.registered("camvid_val"), tmp_path / "predictions")
    # 3 frames of 5 labelled rows, of which one row is wrong.
    assert scores.results().sem_seg["pACC"] == close(100 * 14 / 15)
    assert scores.class_names[2] == "pole"


YAML = """
cffm_test_predicted:
  root: videos
  classes: [road, car]
  is_train: false
  label_mapping: {7: road, 9: car}
"""


@pytest.mark.usefixtures("forget_datasets")
@pytest.mark.parametrize("one_based", [False, True])
def test_folders_of_a_yaml_file_are_scored_where_they_have_labels(
    tmp_path, monkeypatch, capsys, one_based
):
    (tmp_path / "mine.yaml").write_text(YAML)
    frames = {str(i): np.zeros(SIZE, np.uint8) for i in range(4)}
    write_pngs(tmp_path / "videos" / "v" / "frames", frames)
    truth = np.full(SIZE, 7, np.uint8)
    truth[:2] = 9
    write_pngs(tmp_path / "videos" / "v" / "masks", {"1": truth, "3": truth})
    road = np.zeros(SIZE, np.uint8) + one_based  # right in 4 of 6 rows
    write_pngs(tmp_path / "predictions" / "v", {"1": road, "3": road})
    arguments = ["--video-folders", tmp_path / "mine.yaml", "--dataset", "cffm_test_predicted"]
    arguments += ["--predictions", tmp_path / "predictions", "--jobs", 1]
    run_tool(monkeypatch, *arguments, *["--one-based"] * one_based)
    assert "cffm_test_predicted: 1 videos, 2 of 4 frames scored" in capsys.readouterr().out
    scores = score_predictions(
        Dataset.registered("cffm_test_predicted"), tmp_path / "predictions", one_based=one_based
    )
    assert scores.results().sem_seg["IoU-road"] == close(100 * 4 / 6)
    assert scores.results().sem_seg["IoU-car"] == 0
    (tmp_path / "predictions" / "v" / "3.png").unlink()
    with pytest.raises(SystemExit, match=r"does not fit cffm_test_predicted (?s:.*)v/3\.png"):
        run_tool(monkeypatch, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "camvid_val", "--dataset-root", "x"], "not allowed with"),
        (["--dataset", "camvid_val", "--num-classes", 3], "takes no --split"),
        (["--dataset-root", "x"], "needs --split"),
        ([], "required"),
    ],
)
def test_wrong_usage_is_refused(monkeypatch, capsys, arguments, message):
    with pytest.raises(SystemExit):
        run_tool(monkeypatch, *arguments, "--predictions", "x")
    assert message in capsys.readouterr().err


def test_a_name_that_is_not_registered_is_named_with_those_like_it():
    with pytest.raises(ValueError, match=r'no dataset "camvid_vall".*Did you mean camvid_val'):
        Dataset.registered("camvid_vall")


# --- Memory and the tool's exit status ------------------------------------------------------


def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path):
    size = (240, 320)

    def peak(num_frames):
        masks = {"v": np.ones((num_frames, *size), np.uint8)}
        folder = tmp_path / str(num_frames)
        root = write_dataset(folder / "dataset", masks)
        predictions = write_predictions(folder / "predictions", masks)
        del masks
        tracemalloc.start()
        assert score(root, predictions).scored_frames == num_frames
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(4)  # what is imported or cached once
    # 80 more frames bring their file names and six scores each, together less than two label maps
    # (240 * 320 bytes each), where they themselves would be 160.
    assert peak(100) - peak(20) < 2 * 240 * 320


def run_tool(monkeypatch, *arguments):
    assert score_command([*map(str, arguments)]) == 0


def test_the_tool_ends_with_a_message_where_the_folder_does_not_fit(small, monkeypatch, capsys):
    root, folder = small
    (folder / "video0" / "00000002.png").unlink()
    arguments = ["--dataset-root", root, "--split", "val", "--predictions", folder]
    arguments += ["--num-classes", NUM_CLASSES, "--jobs", 1]
    with pytest.raises(SystemExit, match="(?s)does not fit.*video0/00000002.png.*--partial"):
        run_tool(monkeypatch, *arguments)
    run_tool(monkeypatch, *arguments, "--partial")
    assert "3 videos, 41 of 42 frames scored" in capsys.readouterr().out
