"""Training that is asked to leave: a checkpoint, an exit code, and the same bits when resumed."""

import gc
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from detectron2.engine import HookBase, default_argument_parser
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from cffm_plugin.engine import STOPPED, CFFMTrainer, main

SIGNALS = [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT]


class SignalAt(HookBase):
    """Sends this process signals in the middle of a step."""

    def __init__(self, iteration, *numbers, pause=0.0):
        self.iteration, self.numbers, self.pause = iteration, numbers, pause

    def before_step(self):
        if self.trainer.iter == self.iteration:
            for number in self.numbers:
                os.kill(os.getpid(), number)
                time.sleep(self.pause)


@pytest.fixture
def recipe(cfg):
    """With all that is random in the recipe: data, dropout, stochastic depth."""
    cfg.SOLVER.MAX_ITER = 6
    cfg.SOLVER.CHECKPOINT_PERIOD = 100
    cfg.MODEL.MIT.DROP_PATH_RATE = 0.3
    cfg.MODEL.SEM_SEG_HEAD.DROPOUT = cfg.MODEL.TEMPORAL.DROPOUT = 0.3
    return cfg


def build(cfg, *hooks, trainer=CFFMTrainer):
    torch.manual_seed(0)
    training = trainer(cfg)
    training.register_hooks(list(hooks))
    return training


def stopped(training):
    with pytest.raises(SystemExit) as stop:
        training.train()
    assert stop.value.code == STOPPED == 75


def resume(cfg):
    torch.manual_seed(12345)
    training = CFFMTrainer(cfg)
    training.resume_or_load(resume=True)
    training.train()
    return training


def saved_in(cfg):
    return sorted(file.name for file in Path(cfg.OUTPUT_DIR).glob("*.pth"))


def assert_same(ours, theirs, name=""):
    """Of all that a checkpoint holds, to the bit; but for the times that hooks took."""
    assert type(ours) is type(theirs), name
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), name
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), name
        for key in ours:
            assert_same(ours[key], theirs[key], f"{name}.{key}")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), name
        for i, pair in enumerate(zip(ours, theirs)):
            assert_same(*pair, f"{name}[{i}]")
    else:
        assert ours == theirs, name


def assert_ends_alike(cfg, tmp_path):
    resumed = torch.load(f"{cfg.OUTPUT_DIR}/model_final.pth", weights_only=True)
    cfg.OUTPUT_DIR = str(tmp_path / "uninterrupted")
    build(cfg).train()
    whole = torch.load(f"{cfg.OUTPUT_DIR}/model_final.pth", weights_only=True)
    for checkpoint in (resumed, whole):
        del checkpoint["cffm_plugin"]  # names OUTPUT_DIR
    assert_same(resumed, whole)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_step_is_finished_and_saved_and_resuming_ends_in_the_same_bits(
    recipe, tmp_path, number
):
    stopped(build(recipe, SignalAt(2, number)))
    assert saved_in(recipe) == ["model_0000002.pth"]
    assert resume(recipe).start_iter == 3
    assert_ends_alike(recipe, tmp_path)


def test_a_signal_at_a_step_that_is_saved_anyway_saves_it_once(recipe, monkeypatch):
    recipe.SOLVER.CHECKPOINT_PERIOD = 3
    training = build(recipe, SignalAt(2, signal.SIGTERM))
    saves, save = [], training.checkpointer.save
    monkeypatch.setattr(
        training.checkpointer, "save", lambda name, **more: (saves.append(name), save(name, **more))
    )
    stopped(training)
    assert saves == ["model_0000002"]


def test_a_signal_in_the_last_step_leaves_evaluation_to_the_resumed_run(recipe):
    stopped(build(recipe, SignalAt(5, signal.SIGTERM)))
    results = Path(recipe.OUTPUT_DIR, "inference", "vspw_results.json")
    assert saved_in(recipe) == ["model_final.pth"] and not results.exists()
    resume(recipe)
    assert results.exists()


class EvaluatesForever(CFFMTrainer):
    @classmethod
    def test(cls, cfg, model, evaluators=None):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)


@pytest.mark.parametrize("period", [2, 0], ids=["during training", "at its end"])
def test_a_signal_ends_an_evaluation_at_once_since_what_it_evaluates_is_saved(
    recipe, tmp_path, period
):
    recipe.TEST.EVAL_PERIOD = period
    start = time.monotonic()
    stopped(build(recipe, trainer=EvaluatesForever))
    assert time.monotonic() - start < 300
    assert saved_in(recipe) == ["model_0000001.pth" if period else "model_final.pth"]
    resume(recipe)
    recipe.TEST.EVAL_PERIOD = 0
    assert_ends_alike(recipe, tmp_path)


def test_several_signals_are_one_as_where_a_launcher_passes_them_on(recipe):
    stopped(build(recipe, SignalAt(2, *SIGNALS, *SIGNALS)))
    assert saved_in(recipe) == ["model_0000002.pth"]


def test_a_second_ctrl_c_a_second_later_ends_training_without_more_ado(recipe):
    with pytest.raises(KeyboardInterrupt):
        build(recipe, SignalAt(2, signal.SIGINT, signal.SIGINT, pause=1.1)).train()
    assert saved_in(recipe) == []


def test_after_training_signals_do_what_they_did_before(recipe):
    before = [signal.getsignal(number) for number in SIGNALS]
    stopped(build(recipe, SignalAt(2, signal.SIGTERM)))
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.fixture
def no_worker_is_left(monkeypatch):
    """A worker that was told to end does so within half a minute, in the middle of another test."""
    yield
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    iterators = [x for x in gc.get_objects() if isinstance(x, _MultiProcessingDataLoaderIter)]
    for iterator in iterators:
        iterator._shutdown_workers()  # from here on torch does not watch them
    for worker in multiprocessing.active_children():
        worker.kill()
        worker.join()


@pytest.mark.usefixtures("no_worker_is_left")
def test_workers_that_load_data_outlive_a_signal_to_all_and_the_step_is_finished(recipe):
    """SLURM signals every process of a step, and a terminal's Ctrl-C every one of its group."""
    recipe.DATALOADER.NUM_WORKERS = 2

    class ToWorkersToo(SignalAt):
        def before_step(self):
            if self.trainer.iter == self.iteration:
                assert len(multiprocessing.active_children()) == 2
                for worker in multiprocessing.active_children():
                    os.kill(worker.pid, signal.SIGTERM)
                time.sleep(0.5)
                assert len(multiprocessing.active_children()) == 2
            super().before_step()

    stopped(build(recipe, ToWorkersToo(2, signal.SIGTERM)))
    assert saved_in(recipe) == ["model_0000002.pth"]


def test_a_signal_while_training_is_set_up_ends_it_at_once_with_the_same_code(cfg, tmp_path):
    (tmp_path / "config.yaml").write_text(cfg.dump())

    class Asked(CFFMTrainer):
        @classmethod
        def build_model(cls, cfg):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(600)

    parse_args = default_argument_parser().parse_args
    before = signal.getsignal(signal.SIGTERM)
    start = time.monotonic()
    with pytest.raises(SystemExit) as stop:
        main(parse_args(["--config-file", str(tmp_path / "config.yaml")]), Asked)
    assert stop.value.code == STOPPED and time.monotonic() - start < 300
    assert signal.getsignal(signal.SIGTERM) is before
