"""What a person gives wrongly is told in a line; the program's own errors keep their traceback."""

import pytest

import cffm_command
from cffm_plugin.cli import demo, evaluate, train
from cffm_plugin.errors import ProcessFailedError, errors_as_messages

CONFIG = ("--config-file", "vspw/cffm_mit_b0")
HERE = ("MODEL.WEIGHTS", "", "OUTPUT_DIR")


@pytest.fixture(autouse=True)
def no_datasets(monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))


@pytest.mark.parametrize("command", [train, evaluate])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--config-file", "vspw/cffm_mit_b9"), "Nearest names: vspw/cffm_mit_b5"),
        (("--config-file", "nowhere.yaml"), "no config file nowhere.yaml"),
        ((*CONFIG, "NO.SUCH", "1"), "there is no config key NO.SUCH"),
        ((*CONFIG, "SOLVER.MAX_ITER", "abc"), "config key: SOLVER.MAX_ITER"),
        ((*CONFIG, "SOLVER.MAX_ITER"), "pairs, KEY VALUE"),
        ((*CONFIG, *HERE, "out", "MODEL.DEVICE", "gpu"), 'MODEL.DEVICE is "gpu"'),
        ((*CONFIG, *HERE, "out", "MODEL.META_ARCHITECTURE", "No"), "No object named 'No'"),
        ((*CONFIG, *HERE, "out", "DATASETS.TEST", "('no',)"), 'there is no dataset "no"'),
        ((*CONFIG, *HERE, "file"), "file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_name_or_key_is_one_message(command, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert said in str(ended.value.code)
    assert "\n" not in str(ended.value.code)


def test_a_missing_checkpoint_and_a_missing_dataset_are_one_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command, weights, said in (
        (evaluate, "nope.pth", "There is no checkpoint nope.pth"),
        (train, "", "VSPW_480p: there is no such folder"),
    ):
        with pytest.raises(SystemExit, match=said):
            command.main((*CONFIG, "MODEL.WEIGHTS", weights, "OUTPUT_DIR", "out"))


@pytest.mark.parametrize("error", [ValueError("a b"), KeyError("a b"), ProcessFailedError("a b")])
def test_errors_that_say_something_end_in_it(error):
    with pytest.raises(SystemExit, match="^a b$"), errors_as_messages():
        raise error


@pytest.mark.parametrize("error", [KeyError("loss"), KeyError(), TypeError("a b"), RuntimeError()])
def test_the_programs_own_errors_stay_as_they_are(error):
    with pytest.raises(type(error)), errors_as_messages():
        raise error


OUT = ("--output", "out")
VIDEO = ("--video-input", "street.mp4")
NAMED = ("MODEL.WEIGHTS", "nope.pth")
NONE = ("MODEL.WEIGHTS", "")
THERE = ("MODEL.WEIGHTS", "weights.pth")
DEVICE = ("MODEL.DEVICE", "cpu")
NO_DATASET = ("--dataset", "no_such_dataset")
WRONG_CONFIG = ("--config-file", "vspw/cffm_mit_b9")
BAD_YAML = ("--config-file", "bad.yaml")
FAULTS = {
    "config": "no config file vspw/cffm_mit_b9",
    "YAML": "bad.yaml: line 3: this is not YAML",
    "swallowed": "has taken MODEL.DEVICE, which looks like a config key",
    "checkpoint": "There is no checkpoint",
    "key": "no config key NO.SUCH",
    "dataset": "no_such_dataset",
    "input": "street.mp4",
}
CASES = [
    *(("train", "config", WRONG_CONFIG), ("train", "key", (*CONFIG, "NO.SUCH", "1"))),
    ("train", "checkpoint", (*CONFIG, *NAMED)),
    *((command, "YAML", BAD_YAML) for command in ("train", "evaluate", "benchmark")),
    ("train", "YAML", (*CONFIG, *HERE, "out", "DATASETS.VIDEO_FOLDERS", "bad.yaml")),
    ("train", "dataset", (*CONFIG, *HERE, "out", "DATASETS.TRAIN", "no_such_dataset")),
    *(("evaluate", "config", WRONG_CONFIG), ("evaluate", "key", (*CONFIG, "NO.SUCH", "1"))),
    ("evaluate", "checkpoint", (*CONFIG, *NAMED)),
    ("evaluate", "dataset", (*CONFIG, *HERE, "out", "DATASETS.TEST", "no_such_dataset")),
    ("demo", "config", (*WRONG_CONFIG, *VIDEO, *OUT)),
    ("demo", "checkpoint", (*VIDEO, *OUT, "--opts", *NAMED)),
    ("demo", "key", (*CONFIG, *VIDEO, *OUT, "--opts", "NO.SUCH", "1")),
    ("demo", "input", (*CONFIG, *VIDEO, *OUT, "--opts", *NONE)),
    ("demo", "YAML", (*BAD_YAML, *VIDEO, *OUT)),
    ("demo", "swallowed", (*CONFIG, *OUT, *VIDEO, *DEVICE)),
    ("demo", "swallowed", (*CONFIG, *OUT, "--input", "frames", *DEVICE)),
    ("predict", "swallowed", (*CONFIG, "--masks", "out", *VIDEO, *DEVICE)),
    ("predict", "checkpoint", (*VIDEO, "--masks", "out", "--opts", *NAMED)),
    ("predict", "config", (*WRONG_CONFIG, *VIDEO, "--masks", "out")),
    ("predict", "key", (*CONFIG, *VIDEO, "--masks", "out", "--opts", "NO.SUCH", "1")),
    ("predict", "input", (*CONFIG, *VIDEO, "--masks", "out", "--opts", *NONE)),
    ("segment-videos", "config", (*WRONG_CONFIG, "--input", "street.mp4", "--masks", "out")),
    ("segment-videos", "input", (*CONFIG, "--input", "no_street.mp4", "--masks", "out")),
    ("segment-videos", "swallowed", (*CONFIG, "--masks", "out", "--input", "videos", *DEVICE)),
    ("frames", "input", ("street.mp4", *OUT)),
    ("score", "dataset", ("--dataset", "no_such_dataset", "--predictions", ".")),
    ("score", "input", ("--dataset-root", "street.mp4", "--split", "val", "--predictions", ".")),
    ("score", "YAML", ("--video-folders", "bad.yaml", *NO_DATASET, "--predictions", ".")),
    ("report", "YAML", ("--video-folders", "bad.yaml", *NO_DATASET, "--predictions", "a=.", *OUT)),
    ("report", "dataset", ("--dataset", "no_such_dataset", "--predictions", "a=.", *OUT)),
    ("web", "checkpoint", ("--model", "nope.pth")),
    ("web", "config", ("--model", "weights.pth", "vspw/cffm_mit_b9")),
    ("visualize", "config", (*WRONG_CONFIG, "--source", "annotation")),
    ("visualize", "YAML", (*BAD_YAML, "--source", "annotation")),
    ("visualize", "key", (*CONFIG, "--source", "annotation", "NO.SUCH", "1")),
    (
        *("visualize", "dataset"),
        (*CONFIG, "--source", "annotation", "DATASETS.TRAIN", "no_such_dataset"),
    ),
    ("check", "dataset", ("--dataset", "no_such_dataset")),
    ("check", "YAML", ("--video-folders", "bad.yaml", *NO_DATASET)),
    ("check", "input", ("--dataset-root", "street.mp4")),
    ("synthetic", "input", ("--output", "street.mp4/below")),
    ("pseudo-label", "config", (*WRONG_CONFIG, "--input", "videos", *OUT)),
    ("pseudo-label", "input", (*CONFIG, "--input", "street.mp4", *OUT, *THERE)),
    ("prototypes", "config", (*WRONG_CONFIG, "--datasets", "vspw_train", *OUT)),
    ("pseudo-label", "swallowed", (*CONFIG, "--input", "videos", *OUT, "--videos", "a", *DEVICE)),
    ("prototypes", "swallowed", (*CONFIG, *OUT, "--datasets", "vspw_train", *DEVICE)),
    ("prototypes", "checkpoint", (*CONFIG, "--datasets", "vspw_train", *OUT, *NAMED)),
    ("convert", "checkpoint", ("nope.pth", "out.pth")),
    ("convert", "input", ("street.mp4", "out.pth")),
    ("publish", "checkpoint", ("out", "--weights", "nope.pth")),
    ("publish", "config", ("out", "--weights", "nope.pth", *WRONG_CONFIG)),
    ("publish", "YAML", ("out", "--weights", "nope.pth", *BAD_YAML)),
    ("publish", "key", ("out", "--weights", "nope.pth", *CONFIG, "NO.SUCH", "1")),
    ("publish", "key", ("out", "--weights", "nope.pth", *CONFIG, "--opts", "NO.SUCH", "1")),
    ("publish", "swallowed", ("out", "--weights", "w", "--results", "a.json", *DEVICE)),
    ("export", "YAML", (*BAD_YAML, "--size", "64", "64", *OUT)),
    ("export", "config", (*WRONG_CONFIG, "--size", "64", "64", *OUT)),
    ("export", "checkpoint", (*CONFIG, "--size", "64", "64", *OUT, *NAMED)),
    ("export", "key", (*CONFIG, "--size", "64", "64", *OUT, "NO.SUCH", "1")),
    ("compare", "config", ("--configs", "vspw/cffm_mit_b9", *OUT)),
    ("compare", "YAML", ("--configs", "bad.yaml", *OUT)),
    ("compare", "swallowed", (*OUT, "--configs", "vspw/cffm_mit_b1", *DEVICE)),
    ("benchmark", "config", WRONG_CONFIG),
    ("benchmark", "key", (*CONFIG, "--opts", "NO.SUCH", "1")),
    ("quickstart", "input", ("--output", "street.mp4/below")),
    ("make-demo", "input", ("--data", "street.mp4")),
]


@pytest.mark.parametrize(("command", "fault", "words"), CASES)
def test_every_command_tells_what_is_wrong_in_a_line(
    command, fault, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "street.mp4").write_text("no video")
    (tmp_path / "weights.pth").touch()
    (tmp_path / "bad.yaml").write_text("MODEL:\n  DEVICE: [cpu\n")
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(cffm_command.main([command, *words]))
    code, (log, printed) = ended.value.code, capsys.readouterr()
    message = code if isinstance(code, str) else printed.strip().splitlines()[-1]
    assert code not in (0, None) and (code != 2 or command == "check" or fault == "swallowed")
    assert FAULTS[fault] in message and "\n" not in message
    assert fault == "dataset" or len(log.splitlines()) < 5
    assert "Traceback" not in printed


def test_every_command_is_tried():
    assert {command for command, _, _ in CASES} == set(cffm_command.COMMANDS)


@pytest.mark.parametrize("command", ["train", "evaluate", "publish"])
def test_advice_for_a_missing_checkpoint_is_what_the_command_can_do(command, tmp_path):
    """Only training starts without one."""
    missing = str(tmp_path / "nope.pth")
    words = (*CONFIG, "MODEL.WEIGHTS", missing, "OUTPUT_DIR", str(tmp_path))
    if command == "publish":
        words = (str(tmp_path / "out"), "--weights", missing, *CONFIG)
    with pytest.raises(SystemExit) as ended:
        cffm_command.main([command, *words])
    assert ("starts from nothing" in ended.value.code) == (command == "train")
    assert "MODEL_ZOO.md" in ended.value.code


def test_a_file_that_is_named_like_a_key_is_no_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "STREET.MP4").touch()
    assert demo.parse_args(["--video-input", "STREET.MP4"]).video_input == ["STREET.MP4"]


def test_debug_shows_where_it_comes_from():
    with pytest.raises(FileNotFoundError, match="street.mp4"):
        cffm_command.main(["make-demo", "--data", "street.mp4", "--debug"])
