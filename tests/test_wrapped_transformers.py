"""Every segmentor of transformers is a video segmentor by one line, or an error says why not."""

import pytest
import torch
from torch import nn
from wrapped_nets import (
    OPTIONS,
    assert_comes_back,
    assert_starts_as,
    assert_streams_as_clips,
    assert_trains,
)

import cffm_plugin
from lab.segmentor_zoo import NUM_CLASSES, TASK, TRANSFORMERS, with_visible_logits

transformers = pytest.importorskip("transformers")
transformers.utils.logging.set_verbosity_error()

WRAPPED = [name for name, specimen in TRANSFORMERS.items() if not specimen.error]
REFUSED = [name for name, specimen in TRANSFORMERS.items() if specimen.error]


def test_every_class_that_transformers_lists_is_tried():
    from transformers.models.auto import modeling_auto

    listed = {
        *modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES.values(),
        *modeling_auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES.values(),
    }
    tried = {type(specimen.make()).__name__ for specimen in TRANSFORMERS.values()}
    assert tried == listed


@pytest.mark.parametrize("name", WRAPPED)
def test_it_starts_as_its_image_segmentor_streams_trains_and_comes_back(name, tmp_path):
    specimen = TRANSFORMERS[name]
    net = with_visible_logits(specimen.make())
    model = cffm_plugin.wrap(net, **OPTIONS, **specimen.options).eval()
    assert model.num_classes == NUM_CLASSES

    def own(images):
        return specimen.scores(model.backbone.net(images), tuple(images.shape[-2:]))

    for size in specimen.sizes:
        assert_starts_as(model, own, size)
    assert_streams_as_clips(model, specimen.sizes[0])
    assert_trains(model, specimen.sizes[0])
    assert_comes_back(model, tmp_path, None, specimen.sizes[0])


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_wrapped_says_why(name):
    with pytest.raises(ValueError, match=TRANSFORMERS[name].error):
        cffm_plugin.wrap(TRANSFORMERS[name].make())


@pytest.mark.parametrize("name", ["Mask2Former", "MaskFormer", "Eomt"])
def test_mask_classification_trains_by_its_own_criterion_in_every_decoder_layer(name):
    model = cffm_plugin.wrap(TRANSFORMERS[name].make(), **OPTIONS).train()
    size = TRANSFORMERS[name].sizes[0]
    labels = torch.zeros(1, *size).long()
    losses = model(torch.zeros(1, 4, 3, *size), labels=labels).losses
    assert {"loss_mask", "loss_dice", "loss_cross_entropy", "loss_video"} < set(losses)
    assert any(name.startswith("loss_mask_") for name in losses)  # of an earlier layer
    void = model(torch.zeros(1, 4, 3, *size), labels=torch.full_like(labels, 255)).losses
    assert set(void) == set(losses) and all(loss == 0 for loss in void.values())


@pytest.fixture
def mobilevit(tmp_path):
    """A folder of a model that takes blue before red, in 0..1."""
    net = with_visible_logits(TRANSFORMERS["MobileViT"].make())
    net.save_pretrained(tmp_path)
    processor = transformers.MobileViTImageProcessor(image_mean=[0.5] * 3)  # which it does not use
    processor.save_pretrained(tmp_path)
    return tmp_path, net, processor


def test_a_folder_says_its_channel_order_and_normalisation_and_labels_are_the_librarys(mobilevit):
    folder, net, processor = mobilevit
    model = cffm_plugin.wrap(str(folder), **OPTIONS).eval()
    assert model.image_format == "BGR"
    frame = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    for step in ("do_resize", "do_center_crop"):
        setattr(processor, step, False)
    pixels = processor(frame.permute(1, 2, 0).numpy(), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        (expected,) = processor.post_process_semantic_segmentation(net(pixels), [(64, 96)])
        assert torch.equal(model(frame[None]).labels[0], expected)
    by_model = cffm_plugin.wrap(net, processor=processor, **OPTIONS).eval()
    with torch.no_grad():
        assert torch.equal(by_model(frame[None]).labels[0], expected)


def test_a_model_that_was_saved_says_all_of_it_again(mobilevit, tmp_path):
    model = cffm_plugin.wrap(str(mobilevit[0]), **OPTIONS).eval()
    model.save_pretrained(tmp_path / "saved")
    again = cffm_plugin.from_pretrained(tmp_path / "saved")
    frame = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    assert again.image_format == "BGR"
    torch.testing.assert_close(again(frame).logits, model(frame).logits)


def test_labels_that_count_from_1_in_the_models_dataset_are_told_of(mobilevit, caplog):
    _, net, _ = mobilevit
    processor = transformers.BeitImageProcessor(do_reduce_labels=True)
    with caplog.at_level("WARNING", logger="cffm_plugin"):
        cffm_plugin.wrap(net, processor=processor, **OPTIONS)
    assert "label_mapping: from_1" in caplog.text


def test_a_folder_of_no_segmentor_is_an_error_that_names_those_that_are(tmp_path):
    config = transformers.SegformerConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1])
    transformers.SegformerForImageClassification(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"SegformerForImageClassification.*BeitForSemantic"):
        cffm_plugin.wrap(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        cffm_plugin.wrap(tmp_path / "nowhere")


def test_a_saved_recipe_makes_nothing_but_segmentors_of_known_libraries(tmp_path):
    from cffm_plugin.families import rebuild

    for recipe in (
        {"library": "transformers", "class": "AutoModel", "config": {}},
        {"library": "os", "class": "system", "config": {}},
    ):
        with pytest.raises(ValueError, match="no segmentor that can be made anew"):
            rebuild(recipe)


def test_oneformer_needs_its_task():
    with pytest.raises(ValueError, match="task_inputs="):
        cffm_plugin.wrap(TRANSFORMERS["OneFormer"].make())


def test_oneformer_whose_layers_transformers_loses_is_refused():
    net = TRANSFORMERS["OneFormer"].make()
    net.config.enforce_input_proj = True
    with pytest.raises(ValueError, match="input_projections"):
        cffm_plugin.wrap(net, task_inputs=TASK)


def test_what_mask_classification_does_not_take_is_an_error():
    with pytest.raises(ValueError, match="Leave out classifier"):
        cffm_plugin.wrap(TRANSFORMERS["Eomt"].make(), "class_predictor")
    with pytest.raises(ValueError, match="processor is for models of transformers"):
        cffm_plugin.wrap(nn.Conv2d(3, 2, 1), processor=transformers.SegformerImageProcessor())
