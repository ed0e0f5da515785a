"""Segmentors of transformers as image segmentors: every kind of model, with random weights."""

import copy
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import SemanticSegmentor, build_model
from huggingface_models import MEAN, MODELS, NAMES, STD, save_model
from tiny_models import assert_void_trains_nothing, make_clip
from transformers import (
    BeitConfig,
    ConvNextImageProcessor,
    Dinov2Config,
    DPTForSemanticSegmentation,
    DPTImageProcessor,
    EfficientNetImageProcessor,
    ImageGPTImageProcessor,
    Mask2FormerImageProcessor,
    MaskFormerImageProcessor,
    MobileViTImageProcessor,
    SegformerForImageClassification,
    SegformerImageProcessor,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    VitPoseBackboneConfig,
    VivitImageProcessor,
)
from transformers.utils.logging import set_verbosity_error

from cffm_plugin.checkpoint import SegmentorCheckpointer
from cffm_plugin.config import load_config
from cffm_plugin.data import inference_clip
from cffm_plugin.inference import StreamingSegmentor, known_classes
from cffm_plugin.modeling import build_hf_segmenter, check_agreement, resolve_normalization
from cffm_plugin.modeling.huggingface import FAMILIES, HFBackbone, read_pixel_statistics

KINDS = list(MODELS)
MASKS = ["mask2former", "maskformer"]
PIXELS = {"pixel_mean": [120.0, 115.0, 100.0], "pixel_std": [58.0, 57.0, 56.0]}


@dataclass
class Saved:
    kind: str
    folder: Path
    model: Any  # of transformers


@pytest.fixture(scope="module", autouse=True)
def quiet():
    set_verbosity_error()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    return {kind: Saved(kind, folder / kind, save_model(kind, folder / kind)) for kind in KINDS}


def make_config(saved, temporal="CFFMRecall", **keys):
    cfg = load_config()
    cfg.MODEL.META_ARCHITECTURE = "CFFMSegmentor"
    cfg.MODEL.IMAGE_ARCHITECTURE = "build_hf_segmenter"
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.HF.NAME = str(saved.folder)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(NAMES)
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = PIXELS["pixel_mean"], PIXELS["pixel_std"]
    cfg.INPUT.FORMAT = "RGB"
    cfg.MODEL.HF.OWN_NORMALIZATION = False
    cfg.MODEL.TEMPORAL.NAME = temporal
    cfg.MODEL.CFFM.DEPTH = 1
    cfg.MODEL.CFFM.NUM_HEADS = 4
    cfg.merge_from_list([word for pair in keys.items() for word in pair])
    return cfg


def own_scores(saved, image):
    """What transformers makes of an image (3, H, W), 0..255: (K, H, W)."""
    mean, std = (torch.tensor(PIXELS[key])[:, None, None] for key in ("pixel_mean", "pixel_std"))
    size = tuple(image.shape[1:])
    with torch.no_grad():
        outputs = saved.model(((image - mean) / std)[None], output_hidden_states=True)
    if saved.kind not in MASKS:
        return F.interpolate(outputs.logits, size=size, mode="bilinear", align_corners=False)[0]
    (_, processor) = MODELS[saved.kind]()
    (result,) = processor.post_process_semantic_segmentation(
        outputs, target_sizes=[size], return_segmentation_scores=True
    )
    return result.segmentation_scores


@pytest.mark.parametrize("kind", KINDS)
def test_untrained_frames_and_clips_get_what_transformers_gives(saved, kind):
    # transformers' DPT takes squares alone
    clip = make_clip((64, 64) if kind == "dpt" else (64, 96))
    frame = {"image": clip["image"][-1]}
    expected = own_scores(saved[kind], frame["image"])
    assert expected.std() > 1e-2  # or 1e-4 would say nothing
    image_segmentor = build_hf_segmenter(name=str(saved[kind].folder), **PIXELS).eval()
    assert type(image_segmentor) is SemanticSegmentor
    assert isinstance(image_segmentor.backbone, HFBackbone)
    with torch.no_grad():
        (wrapped,) = image_segmentor([frame])
    torch.testing.assert_close(wrapped["sem_seg"], expected, atol=1e-4, rtol=1e-4)
    for temporal in ("CFFM", "CFFMRecall"):
        model = build_model(make_config(saved[kind], temporal)).eval()
        with torch.no_grad():
            (of_clip,), (of_frame,) = model([clip]), model([frame])
        torch.testing.assert_close(of_clip["sem_seg"], expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(of_frame["sem_seg"], wrapped["sem_seg"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_embedding_is_what_the_head_gives(saved, kind):
    model = build_model(make_config(saved[kind]))
    check_agreement(model.head, model.backbone)
    stated = model.head.channels, model.head.stride, model.head.num_classes
    assert stated == model.head._measure(model.backbone, 3)
    assert stated[2] == len(NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_gives_what_a_clip_gives(saved, kind):
    size = (97, 131)  # of no stride a multiple
    cfg = make_config(saved[kind])
    model = build_model(cfg).eval()
    torch.manual_seed(1)
    for parameter in model.temporal.parameters():  # so that the past matters
        torch.nn.init.normal_(parameter, std=0.2)
    stream = StreamingSegmentor(model, frame_offsets=cfg.MODEL.TEMPORAL.FRAME_OFFSETS)
    frames = [frame for _ in range(2) for frame in make_clip(size, frames=2)["image"]]
    for t, frame in enumerate(frames):
        streamed = stream.step(frame, output="probabilities")
        if t == 1 or t == 2:  # frames without enough of a past, as the first
            continue
        clip = [frames[i] for i in inference_clip(t)] if t >= 3 else [frame]
        with torch.no_grad():
            expected = model.coarse_output({"image": clip}).probabilities()
        assert expected.shape == (len(NAMES), *size) and expected.isfinite().all()
        assert torch.equal(streamed, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prediction_depends_on_no_other_clip_of_the_batch(saved, kind):
    model = build_model(make_config(saved[kind])).eval()
    clips = [make_clip((45, 70), frames=1), make_clip((64, 96), frames=2)]
    with torch.no_grad():
        for clip, found in zip(clips, model(clips), strict=True):
            (alone,) = model([clip])
            torch.testing.assert_close(found["sem_seg"], alone["sem_seg"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_training_gives_what_trains_a_finite_gradient(saved, kind):
    torch.manual_seed(0)
    model = build_model(make_config(saved[kind])).train()
    losses = model([make_clip((64, 96), labels=True)])
    assert "loss_video" in losses
    assert ("loss_sem_seg" in losses) == (kind not in MASKS)
    if kind in MASKS:
        of_layers = {n for n in losses if n.startswith(("loss_mask", "loss_dice", "loss_cross"))}
        assert len(of_layers) == len(losses) - 1 > 3  # earlier decoder layers too
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("kind", ["segformer", "mask2former"])
def test_of_a_frozen_model_the_temporal_part_trains_alone_by_the_cross_entropy(saved, kind):
    cfg = make_config(saved[kind], **{"MODEL.TEMPORAL.FREEZE_IMAGE_SEGMENTER": True})
    model = build_model(cfg).train()
    losses = model([make_clip((64, 96), labels=True)])
    assert set(losses) == {"loss_sem_seg", "loss_video"}
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == name.startswith("temporal."), name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_without_a_temporal_module_mask_classification_trains_by_its_criterion(saved):
    cfg = make_config(saved["mask2former"], **{"MODEL.TEMPORAL.ENABLED": False})
    model = build_model(cfg).train()
    item = make_clip((64, 96), frames=1, labels=True)
    losses = model([item])
    assert {"loss_mask", "loss_dice", "loss_cross_entropy"} < set(losses)


@pytest.mark.parametrize("temporal", [True, False])
@pytest.mark.parametrize("kind", ["segformer", *MASKS])
def test_frames_of_void_train_nothing_and_name_the_same_losses(saved, kind, temporal):
    cfg = make_config(saved[kind], **{"MODEL.TEMPORAL.ENABLED": temporal})
    assert_void_trains_nothing(build_model(cfg).train(), make_clip((32, 64), labels=True))


@pytest.mark.parametrize("kind", MASKS)
def test_as_detectron2s_head_too_they_train_nothing(saved, kind):
    model = build_model(make_config(saved[kind], **{"MODEL.TEMPORAL.ENABLED": False})).train()
    features = model.backbone(torch.rand(2, 3, 64, 96))
    labels = torch.randint(0, len(NAMES), (2, 64, 96))
    (_, losses), (_, of_void) = (
        model.sem_seg_head(features, of) for of in (labels, torch.full_like(labels, 255))
    )
    assert list(of_void) == list(losses) and sum(losses.values()) > 0
    assert all(loss == 0 for loss in of_void.values())


@pytest.mark.parametrize("kind", ["segformer", "mask2former"])
def test_a_checkpoint_needs_no_weights_of_the_hub(saved, kind, tmp_path):
    model = build_model(make_config(saved[kind])).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    SegmentorCheckpointer(model, str(tmp_path)).save("trained")
    again = build_model(make_config(saved[kind], **{"MODEL.HF.PRETRAINED": False})).eval()
    checkpointer = SegmentorCheckpointer(again, require_all=True)
    checkpointer.load(str(tmp_path / "trained.pth"))
    clip = make_clip((64, 96))
    with torch.no_grad():
        assert torch.equal(again([clip])[0]["sem_seg"], model([clip])[0]["sem_seg"])

    # Another number of classes: their classifier starts anew.
    keys = {"MODEL.HF.NEW_CLASSIFIER": True, "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 4}
    fewer = build_model(make_config(saved[kind], **keys))
    SegmentorCheckpointer(fewer).load(str(tmp_path / "trained.pth"))
    assert fewer.head.num_classes == 4


def test_a_whole_model_of_the_hub_needs_no_checkpoint_and_an_unfinished_one_does(saved):
    whole = build_model(make_config(saved["segformer"], **{"MODEL.TEMPORAL.ENABLED": False}))
    SegmentorCheckpointer(whole, require_all=True).load("")
    for keys in (
        {},  # with an untrained temporal module
        {"MODEL.TEMPORAL.ENABLED": False, "MODEL.HF.NEW_CLASSIFIER": True},
        {"MODEL.TEMPORAL.ENABLED": False, "MODEL.HF.PRETRAINED": False},
    ):
        model = build_model(make_config(saved["segformer"], **keys))
        with pytest.raises(ValueError, match=r"MODEL\.WEIGHTS is empty"):
            SegmentorCheckpointer(model, require_all=True).load("")


def test_normalisation_is_that_of_the_models_own_file(saved):
    cfg = make_config(saved["segformer"], **{"MODEL.HF.OWN_NORMALIZATION": True})
    cfg.INPUT.FORMAT = "BGR"
    resolve_normalization(cfg)
    assert pytest.approx([255 * m for m in MEAN], abs=1e-3) == cfg.MODEL.PIXEL_MEAN
    assert pytest.approx([255 * s for s in STD], abs=1e-3) == cfg.MODEL.PIXEL_STD
    assert cfg.INPUT.FORMAT == "RGB"
    model = build_hf_segmenter(name=cfg.MODEL.HF.NAME)
    assert model.pixel_mean.flatten().tolist() == pytest.approx(cfg.MODEL.PIXEL_MEAN)


@pytest.mark.parametrize(
    "processor",
    [
        MobileViTImageProcessor(),  # no mean and deviation, blue first
        MobileViTImageProcessor(image_mean=[0.5] * 3),  # stands in files, and is not used
        MobileViTImageProcessor(do_flip_channel_order=False),
        SegformerImageProcessor(do_rescale=False),  # mean and deviation of pixels 0..255
        SegformerImageProcessor(do_normalize=False),
        SegformerImageProcessor(do_rescale=False, do_normalize=False),
        SegformerImageProcessor(rescale_factor=1 / 127.5, image_mean=MEAN, image_std=STD),
        EfficientNetImageProcessor(rescale_offset=True),  # normalises twice
        VivitImageProcessor(),  # subtracts an offset of its own
        Mask2FormerImageProcessor(image_mean=MEAN),  # pads, and has a deviation by default
        MaskFormerImageProcessor(),
        DPTImageProcessor(),
        ConvNextImageProcessor(),
    ],
    ids=lambda processor: type(processor).__name__,
)
def test_normalised_is_as_the_processor_itself_does_it(processor, tmp_path):
    """A picture through the processor, against mean, deviation and order of channels."""
    processor.save_pretrained(tmp_path)
    mean, std, image_format = read_pixel_statistics(str(tmp_path))
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    for step in ("do_resize", "do_center_crop", "do_pad"):
        setattr(processor, step, False)
    found = processor(image.permute(1, 2, 0).numpy(), return_tensors="pt")["pixel_values"]
    pixels = image.float() if image_format == "RGB" else image.float().flip(0)
    mean, std = (torch.tensor(values)[:, None, None] for values in (mean, std))
    ours = (pixels - mean) / std
    torch.testing.assert_close(ours, found.reshape(3, 64, 64).float(), atol=1e-4, rtol=1e-4)


def test_a_processor_that_does_more_is_an_error_where_it_would_be_followed(saved, tmp_path):
    shutil.copytree(saved["segformer"].folder, tmp_path / "model")
    ImageGPTImageProcessor().save_pretrained(tmp_path / "model")  # colours become clusters
    cfg = make_config(saved["segformer"], **{"MODEL.HF.NAME": str(tmp_path / "model")})
    resolve_normalization(cfg)  # of the config, which is asked for
    assert PIXELS["pixel_mean"] == cfg.MODEL.PIXEL_MEAN
    cfg.MODEL.HF.OWN_NORMALIZATION = True
    with pytest.raises(ValueError, match=r"ImageGPT.*MODEL\.HF\.OWN_NORMALIZATION False"):
        resolve_normalization(cfg)


def test_without_that_file_the_configs_normalisation_stays_and_the_log_says_so(saved, caplog):
    cfg = make_config(saved["upernet"], **{"MODEL.HF.OWN_NORMALIZATION": True})
    with caplog.at_level(logging.INFO, logger="cffm_plugin"):
        resolve_normalization(cfg)
    assert PIXELS["pixel_mean"] == cfg.MODEL.PIXEL_MEAN
    assert "from the config" in caplog.text and "no preprocessor_config.json" in caplog.text


def test_classes_have_the_models_own_names_while_it_keeps_its_classifier(saved):
    cfg = make_config(saved["mask2former"])
    assert [name for name, _ in known_classes(cfg)] == NAMES
    cfg.MODEL.HF.NEW_CLASSIFIER = True
    assert known_classes(cfg) == []
    assert known_classes(make_config(saved["upernet"])) == []  # LABEL_0, LABEL_1, ...


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_classifier_is_for_any_number_of_classes(saved, kind):
    keys = {"MODEL.HF.NEW_CLASSIFIER": True, "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 4}
    model = build_model(make_config(saved[kind], **keys))
    ours = model.backbone.state_dict()
    wrapped = build_hf_segmenter(name=str(saved[kind].folder), **PIXELS)
    assert model.head.num_classes == 4
    for name, value in wrapped.backbone.state_dict().items():
        assert torch.equal(ours[name], value), name
    same = build_hf_segmenter(name=str(saved[kind].folder), new_classifier=True, **PIXELS)
    changed = {
        name
        for name, value in wrapped.sem_seg_head.state_dict().items()
        if not torch.equal(value, same.sem_seg_head.state_dict()[name])
    }
    assert {name.split(".")[-2] for name in changed} == {"predictor"}


def test_another_number_of_classes_names_both_ways_out(saved):
    cfg = make_config(saved["segformer"], **{"MODEL.SEM_SEG_HEAD.NUM_CLASSES": 124})
    with pytest.raises(ValueError) as raised:
        build_model(cfg)
    assert "MODEL.SEM_SEG_HEAD.NUM_CLASSES 6" in str(raised.value)
    assert "MODEL.HF.NEW_CLASSIFIER True" in str(raised.value)


def test_other_architectures_are_refused_with_those_that_work(saved, tmp_path):
    config = copy.deepcopy(saved["segformer"].model.config)  # which saving changes
    SegformerForImageClassification(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="ForImageClassification .*Mask2FormerForUniversal"):
        build_hf_segmenter(name=str(tmp_path), **PIXELS)


VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
UPERNET = {"hidden_size": 8, "use_auxiliary_head": False, "num_labels": len(NAMES)}


def make_upernet_on(config_class, **options):
    stages = {"out_features": [f"stage{n}" for n in (1, 2, 3, 4)]}
    torch.manual_seed(0)
    config = UperNetConfig(backbone_config=config_class(**VIT, **stages, **options), **UPERNET)
    model = UperNetForSemanticSegmentation(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize(
    "config_class, options, patch, multiple",
    [
        (Dinov2Config, {"patch_size": 14, "image_size": 56}, 14, 14),
        (Dinov2Config, {"patch_size": 16, "image_size": 64}, 16, 32),
        (BeitConfig, {"use_relative_position_bias": True, "image_size": 64}, 16, 32),
    ],
)
def test_upernet_on_a_vit_is_not_stretched(config_class, options, patch, multiple):
    """Measured on 64 pixels alone, 14 and 16 are the same stride: 4 cells."""
    model = make_upernet_on(config_class, **options)
    own = copy.deepcopy(model)
    backbone, head = FAMILIES["UperNetForSemanticSegmentation"].split(model, 255)
    assert head.embedding_stride == patch and backbone.size_divisibility == multiple
    wrapped = SemanticSegmentor(
        backbone=backbone, sem_seg_head=head, pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3
    ).eval()
    image = torch.randn(3, 3 * multiple, 4 * multiple)
    padded = F.pad(image, (0, 0, 0, multiple))
    with torch.no_grad():
        expected = own(padded[None]).logits[0]
        (whole,), (cut,) = wrapped([{"image": padded}]), wrapped([{"image": padded[:, :-5, :-3]}])
        padded[:, -5:], padded[:, :, -3:] = 0, 0  # as detectron2 pads
        of_cut = own(padded[None]).logits[0, :, :-5, :-3]
    torch.testing.assert_close(whole["sem_seg"], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(cut["sem_seg"], of_cut, atol=1e-4, rtol=1e-4)


def test_backbones_of_one_size_and_patches_that_do_not_divide_are_refused():
    model = make_upernet_on(VitPoseBackboneConfig)
    with pytest.raises(ValueError, match=r"VitPoseBackbone .* one size alone .*doesn't match"):
        FAMILIES["UperNetForSemanticSegmentation"].split(model, 255)
    config = copy.deepcopy(MODELS["dpt"]()[0].config)
    config.patch_size, config.image_size = 14, 56
    with pytest.raises(ValueError, match=r"DPT.* no whole number of pixels a cell"):
        FAMILIES["DPTForSemanticSegmentation"].split(DPTForSemanticSegmentation(config), 255)


def test_hybrids_of_dpt_are_refused():
    hybrid = SimpleNamespace(config=SimpleNamespace(is_hybrid=True))
    with pytest.raises(ValueError, match="hybrids"):
        FAMILIES["DPTForSemanticSegmentation"].split(hybrid, 255)


def test_folders_without_a_model_or_its_weights_are_errors(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        build_hf_segmenter(name=str(tmp_path / "nowhere"), **PIXELS)
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        build_hf_segmenter(name=str(tmp_path), **PIXELS)
    with pytest.raises(ValueError, match=r"MODEL\.HF\.NAME is empty"):
        build_hf_segmenter(name="", **PIXELS)
    saved["segformer"].model.config.save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"MODEL\.HF\.PRETRAINED False"):
        build_hf_segmenter(name=str(tmp_path), **PIXELS)
    build_hf_segmenter(name=str(tmp_path), pretrained=False, **PIXELS)


def test_weights_that_are_not_the_configs_are_an_error(saved, tmp_path):
    saved["segformer"].model.save_pretrained(tmp_path)
    config = type(saved["segformer"].model.config).from_pretrained(tmp_path)
    config.hidden_sizes = [8, 8, 16, 32]
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"not those of its config\.json"):
        build_hf_segmenter(name=str(tmp_path), **PIXELS)
