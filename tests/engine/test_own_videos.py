"""A person's own videos, sparsely labelled, from a YAML file through the command line's `main`."""

import json
import re
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from PIL import Image

from cffm_plugin.data import LabelMapping, read_mask
from cffm_plugin.engine import CFFMTrainer, main
from cffm_plugin.engine.launch import setup

pytestmark = pytest.mark.usefixtures("forget_datasets")

YAML = """
cffm_test_own_train: &own
  root: videos
  classes: [upper, lower, upper box, lower box]
  videos: [t0, t1]
  is_train: true
  frames: "{video}/origin/{frame}.jpg"
  masks: "{video}/mask/{frame}.png"
  label_mapping: {1: upper, 2: lower, 3: upper box, 4: lower box}
  void: [0, 255]
cffm_test_own_val:
  <<: *own
  videos: [v0]
  is_train: false
"""


@pytest.fixture
def own(cfg, tmp_path, write_vspw):
    """Arguments of a run on own videos: every third frame is labelled, of v0 the first nine too."""
    root = write_vspw(tmp_path / "tree", {"train": {"t0": 14, "t1": 13}, "val": {"v0": 20}})
    (root / "data").rename(tmp_path / "videos")
    for mask in (tmp_path / "videos").glob("*/mask/*.png"):
        index = int(mask.stem)
        if index % 3 and not (index < 9 and "v0" in str(mask)):
            mask.unlink()
    (tmp_path / "own.yaml").write_text(YAML)
    cfg.DATASETS.VIDEO_FOLDERS = (str(tmp_path / "own.yaml"),)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("cffm_test_own_train",), ("cffm_test_own_val",)
    cfg.MODEL.TEMPORAL.FRAME_OFFSETS = (-5, -3, -1)
    cfg.SOLVER.MAX_ITER = 3

    def arguments(*more):
        (tmp_path / "config.yaml").write_text(cfg.dump())
        command = ["--config-file", str(tmp_path / "config.yaml"), *map(str, more)]
        return default_argument_parser().parse_args(command)

    return arguments


@pytest.mark.parametrize("enabled", [True, False])
def test_sparsely_labelled_videos_train_and_evaluate_from_the_config_alone(own, cfg, enabled):
    clips = []

    class Watched(CFFMTrainer):
        @classmethod
        def build_model(cls, cfg):
            model = super().build_model(cfg)
            model.register_forward_pre_hook(
                lambda module, args: clips.extend(args[0]) if module.training else None
            )
            return model

    results = main(own("MODEL.TEMPORAL.ENABLED", enabled), Watched)
    assert len(clips) == 3 * cfg.SOLVER.IMS_PER_BATCH
    for clip in clips:
        labelled = [labels is not None for labels in clip["sem_seg"]]
        assert labelled == [index % 3 == 0 for index in clip["frame_indices"]] and labelled[-1]
    written = json.loads(Path(cfg.OUTPUT_DIR, "inference", "vspw_results.json").read_text())
    # Frames 0..8, 9, 12, 15 and 18 of 20: windows of 8 in 0..9 start at 0, 1 and 2.
    assert (written["frames"], written["scored_frames"]) == (20, 13)
    assert written["windows"] == {"mVC8": 3, "mVC16": 0}
    assert results["sem_seg"]["mIoU"] == written["sem_seg"]["mIoU"]


def test_own_videos_are_evaluated_from_the_config_alone(own, cfg):
    path = f"{cfg.OUTPUT_DIR}/model.pth"
    Path(path).parent.mkdir()
    torch.save({"model": CFFMTrainer.build_model(cfg).state_dict()}, path)
    args = own("MODEL.WEIGHTS", path)
    args.eval_only = True
    main(args)
    written = json.loads(Path(cfg.OUTPUT_DIR, "inference", "vspw_results.json").read_text())
    assert (written["dataset"], written["scored_frames"]) == ("cffm_test_own_val", 13)


def test_setting_up_twice_is_harmless_and_setting_up_registers_before_anything_is_used(own):
    assert "cffm_test_own_train" not in DatasetCatalog
    for _ in range(2):
        setup(own())
    assert len(DatasetCatalog.get("cffm_test_own_train")) == 2
    assert len(DatasetCatalog.get("cffm_test_own_val")) == 20


def test_a_mistake_in_the_file_ends_setup_with_its_name_and_key(own, tmp_path):
    (tmp_path / "own.yaml").write_text(YAML.replace("is_train: true", "is_train: maybe"))
    message = r"own\.yaml: cffm_test_own_train: is_train: expected true or false; got 'maybe'"
    with pytest.raises(ValueError, match=message):
        setup(own())


class TestLabelsThatCountFromOne:
    """Masks of 1..4, which a YAML file without label_mapping takes for classes 0..3."""

    @pytest.fixture
    def shifted(self, own, tmp_path):
        """``own``, without the lines that say so; void is 255 in the masks."""
        for file in (tmp_path / "videos").glob("*/mask/*.png"):
            raw = read_mask(file)
            raw[raw == 0] = 255
            Image.fromarray(raw).save(file)
        lines = YAML.splitlines(keepends=True)
        said = [line for line in lines if not line.strip().startswith(("label_mapping", "void"))]
        (tmp_path / "own.yaml").write_text("".join(said))
        return own

    def test_training_does_not_start_and_what_the_error_shows_mends_it(self, shifted, tmp_path):
        with pytest.raises(ValueError, match="cffm_test_own_train, .*no 0") as error:
            main(shifted())
        pasted = "".join(re.findall(r"^  (?:label_mapping|void): .*\n", str(error.value), re.M))
        text = (tmp_path / "own.yaml").read_text()
        text = text.replace("cffm_test_own", "cffm_test_mended")
        (tmp_path / "own.yaml").write_text(text.replace("  root:", f"{pasted}  root:"))
        datasets = ("DATASETS.TRAIN", "('cffm_test_mended_train',)")
        datasets += ("DATASETS.TEST", "('cffm_test_mended_val',)")
        main(shifted(*datasets, "SOLVER.MAX_ITER", 1))
        mapping = MetadataCatalog.get("cffm_test_mended_train").label_mapping
        assert mapping == LabelMapping.shifted_by_one(4)


class TestNumberOfClasses:
    """MODEL.SEM_SEG_HEAD.NUM_CLASSES is the datasets', or nothing starts."""

    @pytest.fixture
    def no_work(self, monkeypatch):
        """No model is built and no data are read."""

        def refuse(*args, **kwargs):
            raise AssertionError("work began")

        for name in ("build_model", "build_train_loader", "build_test_loader"):
            monkeypatch.setattr(CFFMTrainer, name, refuse)

    @pytest.mark.parametrize("kind", ["TRAIN", "TEST"])
    def test_training_checks_training_and_test_datasets(self, cfg, no_work, kind):
        cfg.DATASETS[kind] = (*cfg.DATASETS[kind], "vspw_val")
        with pytest.raises(ValueError) as error:
            CFFMTrainer(cfg)
        expected = "Dataset vspw_val has 124 classes, but MODEL.SEM_SEG_HEAD.NUM_CLASSES is 4"
        assert expected in str(error.value)
        assert "set MODEL.SEM_SEG_HEAD.NUM_CLASSES 124" in str(error.value)

    def test_evaluation_checks_the_test_datasets(self, cfg, no_work):
        cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 7
        name = re.escape(cfg.DATASETS.TEST[0])
        with pytest.raises(ValueError, match=rf"{name} has 4 classes.*NUM_CLASSES is 7"):
            CFFMTrainer.test(cfg, torch.nn.Identity())

    def test_eval_only_checks_them_too(self, own, cfg, tmp_path):
        cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 7
        torch.save({"model": CFFMTrainer.build_model(cfg).state_dict()}, tmp_path / "seven.pth")
        args = own("MODEL.WEIGHTS", tmp_path / "seven.pth")
        args.eval_only = True
        with pytest.raises(ValueError, match="cffm_test_own_val has 4 classes.*NUM_CLASSES is 7"):
            main(args)

    def test_datasets_that_do_not_say_are_left_alone(self, cfg, monkeypatch):
        def reach(cls, cfg):
            raise InterruptedError

        monkeypatch.setattr(CFFMTrainer, "build_model", classmethod(reach))
        cfg.DATASETS.TEST = ("coco_2017_val_panoptic", "cffm_test_of_no_catalog")
        with pytest.raises(InterruptedError):
            CFFMTrainer(cfg)
        assert "cffm_test_of_no_catalog" not in MetadataCatalog.list()
