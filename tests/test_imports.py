"""What works without a library, and what is said by that which needs it."""

import importlib

import pytest
from fresh_process import run_without

from cffm_plugin.libraries import import_library

# Every process imports the package, which imports nothing that only parts of it need, and runs
# CFFM. `raises` gives an error's text.
PREAMBLE = """
import importlib
import sys
import torch
from cffm_plugin import CFFM

optional = {"timm", "sklearn", "scipy", "transformers", "safetensors", "av", "matplotlib"}
assert not optional & set(sys.modules), optional & set(sys.modules)

refined = CFFM(16, 1, num_heads=2)(torch.zeros(1, 4, 16, 5, 5))
assert refined.shape == (1, 16, 5, 5)

def raises(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except ImportError as error:
        return str(error)
    raise AssertionError(f"{function} works")
"""

# Training, evaluation and streaming can be imported.
IMPORTS_ALL = """
for part in ("checkpoint", "data", "engine", "evaluation", "inference", "modeling", "synthetic"):
    importlib.import_module(f"cffm_plugin.{part}")
"""

# Library -> what fails without it, and what it says.
WHAT_NEEDS = {
    "cv2": """
        import numpy as np
        from cffm_plugin.data.augmentation import inference_augmentations, training_augmentations
        from cffm_plugin.data.loaders import start_worker
        from cffm_plugin.synthetic import write_synthetic_vspw
        from cffm_plugin.pictures.painting import overlay
        from cffm_plugin.video.reading import Webcam
        from detectron2.data import DatasetCatalog
        from detectron2.data import transforms as T

        assert "synthetic_vspw_val" in DatasetCatalog and "vspw_val" in DatasetCatalog
        frame = np.zeros((8, 8, 3), np.uint8)
        augmentations = T.AugmentationList(inference_augmentations())
        for said in (
            raises(augmentations, T.AugInput(frame)),
            raises(training_augmentations),
            raises(start_worker, 0),
            raises(write_synthetic_vspw, f"{folder}/synthetic"),
            raises(overlay, frame, frame[..., 0], [(1, 2, 3)]),
            raises(Webcam),
        ):
            assert said.endswith("cv2, which is not installed: pip install opencv-python-headless")
        """,
    "sklearn": """
        import numpy as np
        from cffm_plugin.config import load_config
        from cffm_plugin.engine.prototype_making import cluster, make_prototypes

        for said in (
            raises(cluster, np.zeros((3, 2), np.float32), 2, 5),
            raises(make_prototypes, load_config(), ["vspw_val"], f"{folder}/prototypes"),
        ):
            assert said.startswith("Making prototypes needs sklearn"), said
            assert said.endswith("pip install scikit-learn"), said
        """,
    "transformers": """
        from cffm_plugin.benchmark.peer import build_peer
        from cffm_plugin.config import load_config

        said = raises(build_peer, load_config())
        assert said == "--peer needs transformers, which is not installed: pip install transformers"

        from cffm_plugin.modeling import build_hf_segmenter, resolve_normalization
        from detectron2.modeling import build_model

        cfg = load_config()
        cfg.MODEL.META_ARCHITECTURE = "CFFMSegmentor"
        cfg.MODEL.IMAGE_ARCHITECTURE = "build_hf_segmenter"
        cfg.MODEL.HF.NAME = "nvidia/mit"
        for said in (
            raises(build_hf_segmenter, name=cfg.MODEL.HF.NAME),
            raises(resolve_normalization, cfg),
            raises(build_model, cfg),
        ):
            assert "(wrap, MODEL.HF) needs transformers" in said, said
            assert said.endswith("pip install transformers"), said
        """,
    "scipy": """
        import json
        from pathlib import Path
        from cffm_plugin.modeling import build_hf_segmenter

        architecture = "Mask2FormerForUniversalSegmentation"
        config = {"model_type": "mask2former", "architectures": [architecture]}
        Path(folder, "config.json").write_text(json.dumps(config))
        said = raises(build_hf_segmenter, name=folder)
        assert said.startswith(f"{architecture} of transformers needs scipy"), said
        assert said.endswith("pip install scipy"), said
        """,
    "av": """
        from pathlib import Path
        from cffm_plugin.video.reading import VideoFile
        from cffm_plugin.video.writing import VideoWriter

        for said in (
            raises(VideoFile, f"{folder}/a.mp4"), raises(VideoWriter, Path(folder, "b.mp4"), None)
        ):
            assert said.endswith("av, which is not installed: pip install av"), said
        """,
    "matplotlib": "import detectron2.projects.point_rend",  # only its visualizer needs it
}


# Those that nothing else of WHAT_NEEDS needs are missing together: a process takes long to start.
TOGETHER = ["sklearn", "transformers", "av", "matplotlib"]


@pytest.mark.parametrize(
    "libraries", [TOGETHER, *([name] for name in WHAT_NEEDS if name not in TOGETHER)]
)
def test_without_a_library_the_rest_works_and_what_needs_it_says_so(libraries, tmp_path):
    folder = f"folder = {str(tmp_path)!r}"
    pieces = [WHAT_NEEDS[name] for name in libraries]
    result = run_without(libraries, PREAMBLE, IMPORTS_ALL, folder, *pieces)
    assert result.returncode == 0, result.stderr


def test_without_timm_mit_trains(tiny_cffm_cfg, tmp_path):
    (tmp_path / "config.yaml").write_text(tiny_cffm_cfg.dump())
    code = f"""
        from detectron2.modeling import build_model
        from cffm_plugin.config import load_config

        cfg = load_config({str(tmp_path / "config.yaml")!r})
        model = build_model(cfg).train()
        image = [torch.zeros(3, 32, 32, dtype=torch.uint8) for _ in range(4)]
        sem_seg = [torch.zeros(32, 32, dtype=torch.int64) for _ in image]
        losses = model([{{"image": image, "sem_seg": sem_seg, "height": 32, "width": 32}}])
        sum(losses.values()).backward()
        assert model.backbone.patch_embed1.proj.weight.grad.abs().sum() > 0

        cfg.MODEL.BACKBONE.NAME = "build_timm_backbone"
        said = raises(build_model, cfg)
        assert "build_timm_backbone" in said and said.endswith("pip install timm"), said
    """
    result = run_without(["timm"], PREAMBLE, IMPORTS_ALL, code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("library, pip", [("yaml", "pyyaml"), ("torchvision", "torchvision")])
def test_without_what_detectron2_needs_cffm_works_and_the_rest_says_what_is_missing(library, pip):
    code = f"""
        import cffm_plugin

        for touch in (
            *(lambda name=name: getattr(cffm_plugin, name)
              for name in ("add_cffm_config", "modeling")),
            *(lambda name=name: importlib.import_module(f"cffm_plugin.{{name}}")
              for name in ("checkpoint", "config", "engine", "modeling", "registration")),
        ):
            said = raises(touch)
            assert "detectron2 needs {library}, which is not installed" in said, said
            assert said.endswith("pip install {pip}"), said
    """
    result = run_without([library], PREAMBLE, code)
    assert result.returncode == 0, result.stderr


# What Detectron2 projects of others import. model_zoo needs setuptools<81.
@pytest.mark.parametrize(
    "name",
    [
        *("detectron2.model_zoo", "detectron2.utils.visualizer"),
        *("detectron2.utils.video_visualizer", "detectron2.projects.deeplab"),
        *("detectron2.projects.point_rend", "detectron2.projects.panoptic_deeplab"),
    ],
)
@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated")
def test_what_projects_of_others_import_is_there(name):
    importlib.import_module(name)


def test_a_part_that_an_installed_library_lacks_is_not_called_missing():
    with pytest.raises(ModuleNotFoundError, match="No module named 'torch.nothing'"):
        import_library("torch.nothing", "This test")


def test_a_library_that_an_installed_library_lacks_is_named(monkeypatch, tmp_path):
    (tmp_path / "has_a_need.py").write_text("import cv2_of_nobody")
    monkeypatch.syspath_prepend(tmp_path)
    expected = (
        "This test needs has_a_need, and has_a_need needs cv2_of_nobody, .* pip install cv2_of"
    )
    with pytest.raises(ModuleNotFoundError, match=expected):
        import_library("has_a_need", "This test")
