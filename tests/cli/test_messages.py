"""What a person gives wrongly is told in a line; the program's own errors keep their traceback."""

import pytest

from cffm_plugin.cli import evaluate, train
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
