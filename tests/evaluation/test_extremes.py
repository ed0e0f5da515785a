"""The smallest and the largest that data may be, from the dataset over the mapper to the scores."""

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image

from cffm_plugin.data import (
    ClipMapper,
    Dataset,
    LabelMapping,
    build_clip_test_loader,
    build_clip_train_loader,
    read_mask,
    register_video_folder,
    register_videos,
    register_vspw,
)
from cffm_plugin.engine import CFFMTrainer
from cffm_plugin.evaluation import VSPWEvaluator, score_predictions

pytestmark = pytest.mark.usefixtures("forget_datasets")


def write(root, videos):
    """Video -> raw masks (L, H, W); frames hold the same numbers."""
    for video, masks in videos.items():
        for kind in ("frames", "masks"):
            (root / video / kind).mkdir(parents=True)
            for index, mask in enumerate(masks):
                Image.fromarray(mask).save(root / video / kind / f"{index}.png")
    return root


def register(name, root, num_classes, is_train):
    register_video_folder(name, root, [f"c{k}" for k in range(num_classes)], is_train=is_train)
    return name


# Classes


def test_255_classes_are_trained_on_scored_and_saved_and_255_is_no_class(tmp_path):
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    write(tmp_path / "data", {"v": every})
    (record,) = DatasetCatalog.get(register("train", tmp_path / "data", 255, True))
    mapping = MetadataCatalog.get("train").label_mapping
    mapper = ClipMapper(is_train=True, augmentations=[], label_mapping=mapping)
    assert mapper(record)["sem_seg"][0].flatten().tolist() == list(range(256))

    register("val", tmp_path / "data", 255, False)
    evaluator = VSPWEvaluator("val", output_dir=tmp_path / "out", save_predictions=True)
    loader = build_clip_test_loader(
        DatasetCatalog.get("val"), mapper=ClipMapper(is_train=False, augmentations=[])
    )
    prediction = every[0].copy()
    prediction[-1, -1] = 0  # where there is no class, a prediction does not matter
    for inputs in loader:
        logits = (np.arange(255)[:, None, None] == prediction).astype(np.float32)
        evaluator.process(inputs, [{"sem_seg": torch.from_numpy(logits)}])
    scores = evaluator.evaluate()["sem_seg"]
    assert scores["mIoU"] == 100 and scores["IoU-c254"] == 100
    saved = tmp_path / "out" / "result_submission"
    np.testing.assert_array_equal(read_mask(saved / "v" / "0.png"), prediction)
    assert score_predictions(Dataset.registered("val"), saved).results().sem_seg["mIoU"] == 100


def test_more_classes_than_8_bits_hold_are_refused_wherever_they_are_named(tmp_path):
    names = [f"c{k}" for k in range(256)]
    with pytest.raises(ValueError, match="256_folder: classes: expected a list of 2 to 255 names"):
        register_video_folder("256_folder", tmp_path, names, is_train=True)
    with pytest.raises(ValueError, match="expected 2 to 255 classes.* got 256"):
        LabelMapping(256, {k: k for k in range(256)}, void=())
    with pytest.raises(ValueError, match="at most 254 classes; got 255"):
        register_vspw("255_vspw", tmp_path, "train", classes=names[:255])
    mapping = LabelMapping(255, {k: k for k in range(255)})
    with pytest.raises(ValueError, match="256 classes, but the label mapping has 255"):
        register_videos("256", list, classes=names, colors=[(0, 0, 0)] * 256, label_mapping=mapping)


def test_254_classes_that_count_from_one_use_every_value():
    mapping = LabelMapping.shifted_by_one(254)
    labels = mapping(np.arange(256, dtype=np.uint8))
    assert labels.tolist() == [255, *range(254), 255]


# Videos and frames


def test_videos_of_one_frame_and_frames_of_one_pixel_are_trained_on_and_evaluated(
    tiny_cffm_cfg, tmp_path
):
    cfg = tiny_cffm_cfg
    pixel, strip = np.ones((1, 1, 1), np.uint8), np.ones((2, 1, 400), np.uint8)
    write(tmp_path / "data", {"pixel": pixel, "strip": strip})
    cfg.DATASETS.TRAIN = (register("train", tmp_path / "data", 4, True),)
    cfg.DATASETS.TEST = (register("val", tmp_path / "data", 4, False),)
    cfg.MODEL.TEMPORAL.ENABLED = False  # a clip of one frame
    cfg.MODEL.TEMPORAL.FRAME_OFFSETS = ()
    (clip, _) = next(iter(build_clip_train_loader(cfg)))
    assert clip["image"][0].shape == (3, 32, 32)  # the crop
    assert set(clip["sem_seg"][0].unique().tolist()) <= {1, 255}

    cfg.OUTPUT_DIR = str(tmp_path / "out")
    cfg.MODEL.TEMPORAL.ENABLED = True
    cfg.MODEL.TEMPORAL.FRAME_OFFSETS = (-9, -6, -3)
    cfg.TEST.SAVE_PREDICTIONS = True
    scores = CFFMTrainer.test(cfg, build_model(cfg))["sem_seg"]
    assert 0 <= scores["pACC"] <= 100
    saved = tmp_path / "out" / "inference" / "result_submission"
    assert read_mask(saved / "pixel" / "0.png").shape == (1, 1)
    assert read_mask(saved / "strip" / "1.png").shape == (1, 400)
    scored = score_predictions(Dataset.registered("val"), saved)
    assert scored.results().sem_seg["pACC"] == scores["pACC"]
