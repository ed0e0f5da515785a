"""Training and evaluation on a tiny dataset, in this process."""

import json
import logging
import math
from pathlib import Path

import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.engine import default_argument_parser
from tiny_dataset import TINY_COLORS

from cffm_plugin.checkpoint import INFO_KEY, SegmentorCheckpointer, read_model_info
from cffm_plugin.engine import CFFMTrainer, main
from cffm_plugin.inference import StreamingSegmentor
from lab.kills import first_difference


def build_trainer(cfg):
    torch.manual_seed(0)
    return CFFMTrainer(cfg)


def final_weights(cfg):
    path = f"{cfg.OUTPUT_DIR}/model_final.pth"
    return torch.load(path, weights_only=True)["model"]


@pytest.mark.parametrize("enabled", [True, False])
def test_training_lowers_the_loss_and_evaluates(cfg, enabled):
    cfg.MODEL.TEMPORAL.ENABLED = enabled
    cfg.SOLVER.MAX_ITER = 30
    cfg.TEST.ALL_VC = True
    trainer = build_trainer(cfg)
    losses = []
    trainer.model.register_forward_hook(
        lambda module, args, out: (
            losses.append(sum(out.values()).item()) if module.training else None
        )
    )
    trainer.train()
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    results = json.loads(Path(cfg.OUTPUT_DIR, "inference", "vspw_results.json").read_text())
    assert 0 < results["sem_seg"]["mIoU"] <= 100
    # Of the two validation videos the one with 20 frames counts for VC.
    assert not math.isnan(results["sem_seg"]["mVC8"])
    assert set(trainer._last_eval_results["sem_seg"]) >= {"mIoU", "fwIoU", "mVC8", "mVC16"}
    assert set(trainer._last_eval_results["sem_seg"]) >= {"mVC8_vspw", "mVC8+16"}


def test_two_runs_give_the_same_weights_and_a_resumed_run_too(cfg, tmp_path):
    cfg.SOLVER.MAX_ITER = 6
    cfg.SOLVER.CHECKPOINT_PERIOD = 3
    cfg.MODEL.MIT.DROP_PATH_RATE = 0.0
    cfg.MODEL.SEM_SEG_HEAD.DROPOUT = cfg.MODEL.TEMPORAL.DROPOUT = 0.0
    weights = []
    for run in ("first", "second"):
        cfg.OUTPUT_DIR = str(tmp_path / run)
        build_trainer(cfg).train()
        weights.append(final_weights(cfg))
    # The third starts from the first one's third iteration.
    cfg.OUTPUT_DIR = str(tmp_path / "first")
    (tmp_path / "first" / "last_checkpoint").write_text("model_0000002.pth")
    torch.manual_seed(99)
    resumed = CFFMTrainer(cfg)
    resumed.resume_or_load(resume=True)
    assert resumed.start_iter == 3
    resumed.train()
    weights.append(final_weights(cfg))
    for name, tensor in weights[0].items():
        assert torch.equal(weights[1][name], tensor), name
        assert torch.equal(weights[2][name], tensor), name


def test_a_run_killed_between_its_last_two_checkpoints_writes_the_final_one_when_resumed(cfg):
    cfg.SOLVER.MAX_ITER = 4
    cfg.SOLVER.CHECKPOINT_PERIOD = 2
    build_trainer(cfg).train()
    final = Path(cfg.OUTPUT_DIR, "model_final.pth")
    results = Path(cfg.OUTPUT_DIR, "inference", "vspw_results.json")
    whole = torch.load(final, weights_only=True)
    final.unlink()
    results.unlink()
    Path(cfg.OUTPUT_DIR, "last_checkpoint").write_text("model_0000003.pth")

    resumed = CFFMTrainer(cfg)
    resumed.resume_or_load(resume=True)
    assert resumed.start_iter == cfg.SOLVER.MAX_ITER
    resumed.train()

    for part in ("model", "trainer", "iteration"):
        assert first_difference(torch.load(final, weights_only=True)[part], whole[part]) == ""
    assert results.exists()

    # One that has ended is left as it is.
    written = final.stat().st_mtime_ns
    ended = CFFMTrainer(cfg)
    ended.resume_or_load(resume=True)
    ended.train()
    assert final.stat().st_mtime_ns == written


def test_checkpoints_say_what_the_model_is(cfg, caplog):
    cfg.SOLVER.MAX_ITER = 1
    build_trainer(cfg).train()
    path = f"{cfg.OUTPUT_DIR}/model_final.pth"
    info = read_model_info(path)
    assert info.class_names == ("upper", "lower", "upper box", "lower box")
    assert info.class_colors == TINY_COLORS
    assert info.pixel_mean == (123.675, 116.28, 103.53) and info.image_format == "RGB"
    assert f"OUTPUT_DIR: {cfg.OUTPUT_DIR}" in info.config
    # Training from it under other names and another normalisation is noticed.
    MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).stuff_classes[1] = "below"
    cfg.INPUT.FORMAT = "BGR"
    cfg.MODEL.WEIGHTS = path
    with caplog.at_level(logging.WARNING, logger="cffm_plugin.checkpoint"):
        build_trainer(cfg).resume_or_load(resume=False)
    assert "normalised by mean 123.675" in caplog.text
    assert "class 1 is lower in the checkpoint and below in the dataset (1 of 4" in caplog.text


def test_a_run_resumes_to_the_same_bits_from_checkpoints_of_before(cfg, tmp_path):
    """Checkpoints that hold nothing but what detectron2 writes."""
    cfg.SOLVER.MAX_ITER = 4
    cfg.SOLVER.CHECKPOINT_PERIOD = 2
    cfg.MODEL.MIT.DROP_PATH_RATE = 0.0
    cfg.MODEL.SEM_SEG_HEAD.DROPOUT = cfg.MODEL.TEMPORAL.DROPOUT = 0.0
    build_trainer(cfg).train()
    expected = final_weights(cfg)
    halfway = Path(cfg.OUTPUT_DIR, "model_0000001.pth")
    for old in (False, True):
        if old:
            checkpoint = torch.load(halfway, weights_only=True)
            assert checkpoint.keys() == {"model", "trainer", "iteration", INFO_KEY}
            del checkpoint[INFO_KEY]
            torch.save(checkpoint, halfway)
        Path(cfg.OUTPUT_DIR, "last_checkpoint").write_text(halfway.name)
        torch.manual_seed(99)
        resumed = CFFMTrainer(cfg)
        resumed.resume_or_load(resume=True)
        assert resumed.start_iter == 2
        resumed.train()
        for name, tensor in final_weights(cfg).items():
            assert torch.equal(tensor, expected[name]), (old, name)


def test_a_resumed_run_keeps_the_loader_that_a_subclass_builds(cfg):
    cfg.SOLVER.MAX_ITER = 2
    build_trainer(cfg).train()
    built = []

    class Mine(CFFMTrainer):
        @classmethod
        def build_train_loader(cls, cfg):
            built.append(super().build_train_loader(cfg))
            return built[-1]

    resumed = Mine(cfg)
    resumed.resume_or_load(resume=True)
    assert resumed._trainer.data_loader is built[0] and len(built) == 1
    assert built[0].sampler.start == 2 * cfg.SOLVER.IMS_PER_BATCH


def test_evaluating_a_checkpoint_gives_the_results_of_the_end_of_training(cfg, tmp_path):
    trainer = build_trainer(cfg)
    trainer.train()
    (tmp_path / "eval.yaml").write_text(cfg.dump())
    arguments = ["--eval-only", "--config-file", str(tmp_path / "eval.yaml")]
    arguments += ["MODEL.WEIGHTS", f"{cfg.OUTPUT_DIR}/model_final.pth"]
    results = main(default_argument_parser().parse_args(arguments))
    ours, theirs = results["sem_seg"], trainer._last_eval_results["sem_seg"]
    assert {k: v for k, v in ours.items() if v == v} == {k: v for k, v in theirs.items() if v == v}


def test_a_loss_that_is_not_finite_stops_naming_iteration_and_records(cfg):
    trainer = build_trainer(cfg)
    before = {}

    def poison(module, args):
        if trainer.iter == 2:
            before.update({k: v.clone() for k, v in module.state_dict().items()})
            args[0][0]["image"][-1] = torch.full_like(args[0][0]["image"][-1].float(), math.nan)

    trainer.model.register_forward_pre_hook(poison)
    with pytest.raises(FloatingPointError, match=r"(?s)iteration 2.*loss_video.*video t\d.*\.jpg"):
        trainer.train()
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, before[name]), name  # no step was taken


def test_amp_without_cuda_goes_on_in_float32_and_says_so(cfg, caplog):
    if torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    cfg.SOLVER.AMP.ENABLED = True
    cfg.SOLVER.MAX_ITER = 1
    with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
        build_trainer(cfg).train()
    assert any("AMP" in record.message for record in caplog.records)


def test_a_dataset_of_another_kind_and_stock_settings_of_detectron2_are_errors(cfg):
    with pytest.raises(ValueError, match="coco_2017_val_panoptic"):
        CFFMTrainer.build_evaluator(cfg, "coco_2017_val_panoptic")
    # Only META_ARCHITECTURE changed: Detectron2's rate is one for SGD.
    cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR = "", 0.02
    with pytest.raises(ValueError, match=r"SOLVER\.OPTIMIZER"):
        CFFMTrainer(cfg)


DEEPER = "backbone.block1.1.norm1.weight"
OFFICIAL = "decode_head.decoder_focal.blocks.0.norm1.weight"


class TestCheckpoints:
    def save(self, model, path, change=lambda weights: None):
        weights = {k: v.clone() for k, v in model.state_dict().items()}
        change(weights)
        torch.save({"model": weights}, path)
        return str(path)

    @pytest.fixture
    def model(self, cfg):
        return CFFMTrainer.build_model(cfg)

    def test_an_image_segmentors_checkpoint_starts_cffm_but_is_not_evaluated_as_one(
        self, cfg, model, tmp_path
    ):
        cfg.MODEL.TEMPORAL.ENABLED = False
        image = CFFMTrainer.build_model(cfg)
        path = self.save(image, tmp_path / "image.pth")
        SegmentorCheckpointer(model).load(path)
        for name, tensor in image.state_dict().items():
            assert torch.equal(model.state_dict()[name], tensor), name
        with pytest.raises(ValueError, match=r"image\.pth.*\n.*whole of temporal"):
            SegmentorCheckpointer(model, require_all=True).load(path)

    def test_another_architecture_is_an_error_that_names_file_and_keys(self, cfg, model, tmp_path):
        cfg.MODEL.MIT.NAME = "mit_b0"
        path = self.save(CFFMTrainer.build_model(cfg), tmp_path / "b0.pth")
        with pytest.raises(ValueError, match=r"b0\.pth.*another architecture(.|\n)*patch_embed1"):
            SegmentorCheckpointer(model).load(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                # A deeper encoder of the same widths
                lambda weights: weights.update({DEEPER: torch.ones(16)}),
                r"backbone\.block1\.1\.norm1\.weight is not in the m",
            ),
            (
                lambda weights: weights.pop("backbone.norm4.bias"),
                r"backbone\.norm4\.bias is not in the checkpoint",
            ),
        ],
    )
    def test_a_part_that_is_deeper_or_not_whole_is_an_error(self, model, tmp_path, change, message):
        path = self.save(model, tmp_path / "other.pth", change)
        with pytest.raises(ValueError, match=message):
            SegmentorCheckpointer(model).load(path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                {"model": {"stem.conv1.weight": torch.ones(1)}},
                r"theirs\.pth(.|\n)*none of the model's(.|\n)*stem",
            ),
            (
                {"state_dict": {OFFICIAL: torch.ones(1)}, "meta": {}},
                r"cffm convert .*theirs\.pth",
            ),
            ({"model": {"a": torch.ones(1)}, "hook": print}, "(?i)weights.only"),  # not run
        ],
        ids=["a_strangers", "an_official_one", "code"],
    )
    def test_a_file_of_anothers_is_an_error(self, model, tmp_path, content, message):
        torch.save(content, tmp_path / "theirs.pth")
        with pytest.raises(Exception, match=message):
            SegmentorCheckpointer(model).load(str(tmp_path / "theirs.pth"))

    def test_other_classes_train_a_new_classifier_but_are_not_evaluated(self, cfg, model, tmp_path):
        cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 9
        other = CFFMTrainer.build_model(cfg)
        path = self.save(other, tmp_path / "nine.pth")
        before = model.sem_seg_head.predictor.weight.clone()
        SegmentorCheckpointer(model).load(path)
        assert torch.equal(model.sem_seg_head.predictor.weight, before)
        assert torch.equal(model.sem_seg_head.fuse.weight, other.sem_seg_head.fuse.weight)
        with pytest.raises(ValueError, match=r"predictor\.weight has shape \(9,"):
            SegmentorCheckpointer(model, require_all=True).load(path)

    def test_nothing_to_evaluate_and_a_missing_file_are_errors(self, model):
        with pytest.raises(ValueError, match=r"MODEL\.WEIGHTS is empty"):
            SegmentorCheckpointer(model, require_all=True).load("")
        with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
            SegmentorCheckpointer(model).load("nowhere.pth")


def test_a_loss_that_runs_away_stops_training_before_it_changes_a_weight(cfg):
    cfg.SOLVER.MAX_ITER, cfg.DATASETS.TEST = 12, ()
    trainer = build_trainer(cfg)
    weights = []

    def run_away(module, args, losses):
        weights.append({n: p.detach().clone() for n, p in module.named_parameters()})
        factor = 1e4 if trainer.iter == 8 else 1.0
        return {name: factor * loss for name, loss in losses.items()}

    trainer.model.register_forward_hook(run_away, prepend=True)
    with pytest.raises(FloatingPointError, match=r"iteration 8.*diverges.*MAX_LOSS_GROWTH is 100"):
        trainer.train()
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, weights[-1][name])


def test_a_head_whose_forward_is_something_else_is_refused(cfg):
    from detectron2.modeling import SEM_SEG_HEADS_REGISTRY

    from cffm_plugin.modeling import SegFormerHead

    class HeadThatAddsSomething(SegFormerHead):
        def forward(self, features, targets=None):
            logits, losses = super().forward(features, targets)
            return (logits if logits is None else 2 * logits), losses

    SEM_SEG_HEADS_REGISTRY.register(HeadThatAddsSomething)
    cfg.MODEL.SEM_SEG_HEAD.NAME = "HeadThatAddsSomething"
    for build in (CFFMTrainer.build_model, StreamingSegmentor):
        with pytest.raises(ValueError, match=r"HeadThatAddsSomething\.forward.*differ by up to"):
            build(cfg)
