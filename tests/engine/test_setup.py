"""What a run sets up: paths that hold from every folder, and mistakes told before work begins."""

import argparse
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog

from cffm_plugin.config import absolute_path, load_config, make_paths_absolute, with_values
from cffm_plugin.data import check_registered, register_video_folder
from cffm_plugin.engine import complete_config, config_of_arguments, main, read_config, with_config
from cffm_plugin.engine.prototype_making import make_prototypes


def arguments(*opts, eval_only=False):
    return argparse.Namespace(
        config_file="", opts=list(map(str, opts)), eval_only=eval_only, resume=False
    )


class TestAbsolutePaths:
    def test_every_path_of_ours_becomes_absolute(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("weights.pth").touch()
        cfg = load_config()
        cfg.MODEL.WEIGHTS = "weights.pth"
        cfg.OUTPUT_DIR = "output/mine"
        cfg.MODEL.TIMM.CHECKPOINT = "timm.safetensors"
        cfg.MODEL.TEMPORAL.PROTOTYPES.FOLDER = "../prototypes"
        cfg.DATASETS.VIDEO_FOLDERS = ("a.yaml", "/b.yaml")
        make_paths_absolute(cfg)
        assert str(tmp_path / "weights.pth") == cfg.MODEL.WEIGHTS
        assert str(tmp_path / "output" / "mine") == cfg.OUTPUT_DIR
        assert str(tmp_path / "timm.safetensors") == cfg.MODEL.TIMM.CHECKPOINT
        assert str(tmp_path.parent / "prototypes") == cfg.MODEL.TEMPORAL.PROTOTYPES.FOLDER
        assert (str(tmp_path / "a.yaml"), "/b.yaml") == cfg.DATASETS.VIDEO_FOLDERS

    @pytest.mark.parametrize("weights", ["detectron2://DeepLab/R-103.pkl", "nowhere.pth", ""])
    def test_weights_that_are_no_file_here_keep_their_name(self, weights):
        cfg = load_config("", ["MODEL.WEIGHTS", weights])
        make_paths_absolute(cfg)
        assert weights == cfg.MODEL.WEIGHTS

    @pytest.mark.parametrize("path", ["", "s3://bucket/output", "/there"])
    def test_paths_that_have_no_working_directory_stay(self, path):
        assert absolute_path(path) == path

    def test_the_home_folder_is_written_out(self):
        assert absolute_path("~/output") == str(Path.home() / "output")


@pytest.mark.parametrize("name", ["SemanticSegmentor", "GeneralizedRCNN"])
def test_a_model_for_images_is_told_what_to_use(name, tmp_path):
    with pytest.raises(ValueError, match=rf"MODEL\.META_ARCHITECTURE is {name}.*CFFMSegmentor.*EN"):
        main(arguments("MODEL.META_ARCHITECTURE", name, "OUTPUT_DIR", tmp_path))


def test_other_peoples_models_are_left_alone():
    cfg = load_config("", ["MODEL.META_ARCHITECTURE", "Strangers", "MODEL.DEVICE", "cpu"])
    complete_config(cfg)


class TestUnknownDatasets:
    @pytest.fixture(autouse=True)
    def own(self, forget_datasets, tmp_path):
        register_video_folder("cffm_test_own_val", tmp_path, ["a", "b"], is_train=False)

    def test_the_nearest_names_come_first_then_videos_of_ones_own_and_no_others(self):
        with pytest.raises(KeyError) as error:
            check_registered(["cffm_test_own_vla"], "DATASETS.TEST")
        message = error.value.args[0]
        assert 'DATASETS.TEST: there is no dataset "cffm_test_own_vla".' in message
        assert "Did you mean cffm_test_own_val?" in message
        assert "Registered for videos: cffm_test_own_val, " in message and "vspw_val" in message
        assert "coco" not in message and "coco_2017_val" in DatasetCatalog.list()

    @pytest.mark.parametrize("key", ["DATASETS.TRAIN", "DATASETS.TEST"])
    def test_nothing_starts_with_one(self, key, tmp_path):
        names = {"DATASETS.TRAIN": "vspw_train", "DATASETS.TEST": "vspw_val", key: "vspw_trian"}
        opts = [word for pair in names.items() for word in pair]
        model = ("MODEL.META_ARCHITECTURE", "CFFMSegmentor", "OUTPUT_DIR", tmp_path)
        with pytest.raises(KeyError, match=rf'{key}: there is no dataset "vspw_trian". Did you'):
            main(arguments(*opts, *model))

    def test_evaluation_does_not_ask_for_the_training_datasets(self, tmp_path):
        opts = ("DATASETS.TRAIN", "not_here", "DATASETS.TEST", "cffm_test_nowhere")
        model = ("MODEL.META_ARCHITECTURE", "CFFMSegmentor", "OUTPUT_DIR", tmp_path)
        with pytest.raises(KeyError, match=r"DATASETS\.TEST"):
            main(arguments(*opts, *model, eval_only=True))

    def test_prototypes_are_not_begun_for_one(self, tmp_path):
        with pytest.raises(KeyError, match=r"--datasets: there is no dataset \"nobodys\""):
            make_prototypes(load_config(), ["nobodys"], tmp_path / "prototypes")
        assert not (tmp_path / "prototypes").exists()


class TestReadConfig:
    OPTS = ("MODEL.DEVICE", "cpu", "OUTPUT_DIR", "mine")

    def test_it_is_complete_and_does_not_change(self):
        cfg = read_config("vspw/cffm_mit_b0", self.OPTS)
        assert str(Path("mine").absolute()) == cfg.OUTPUT_DIR
        with pytest.raises(AttributeError, match="immutable"):
            cfg.MODEL.DEVICE = "cuda"

    def test_another_value_makes_another_config(self):
        cfg = read_config("vspw/cffm_mit_b0", self.OPTS)
        other = with_values(cfg, {"MODEL.DEVICE": "cuda"})
        assert (cfg.MODEL.DEVICE, other.MODEL.DEVICE) == ("cpu", "cuda")
        assert other.is_frozen() and other.INPUT == cfg.INPUT

    def test_a_job_takes_what_its_process_has_read_and_another_process_reads_anew(self):
        args, read = arguments(), []

        def count(file, opts):
            read.append(file)
            return "read"

        assert config_of_arguments(with_config(args, "handed over"), count) == "handed over"
        assert not read
        elsewhere = with_config(with_config(args, "handed over"), None)
        assert config_of_arguments(elsewhere, count) == "read"
        assert elsewhere == args
