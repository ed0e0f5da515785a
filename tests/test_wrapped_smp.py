"""Every architecture of segmentation_models_pytorch is a video segmentor by one line."""

import pytest
import torch
from wrapped_nets import (
    OPTIONS,
    assert_comes_back,
    assert_starts_as,
    assert_streams_as_clips,
    assert_trains,
)

import cffm_plugin
from lab.segmentor_zoo import SMP, make_smp

smp = pytest.importorskip("segmentation_models_pytorch")

PADDED_TO = {"Unet": 0, "PSPNet": 8, "DeepLabV3": 8, "DeepLabV3Plus": 16, "PAN": 16}


def test_every_architecture_of_the_library_is_tried():
    assert {kind.__name__ for kind in smp.MODEL_ARCHITECTURES_MAPPING.values()} == set(SMP)


@pytest.mark.parametrize("name", SMP)
def test_it_starts_as_its_image_segmentor_streams_trains_and_comes_back(name, tmp_path):
    _, sizes = SMP[name]
    net = make_smp(name)
    model = cffm_plugin.wrap(net, **OPTIONS).eval()
    assert model.backbone.size_divisibility == PADDED_TO.get(name, 32)
    for size in sizes:
        assert_starts_as(model, net, size)
    assert_streams_as_clips(model, sizes[0])
    assert_trains(model, sizes[0])
    assert_comes_back(model, tmp_path, None, sizes[0])


@pytest.mark.parametrize("activation", [None, "sigmoid"])
@pytest.mark.parametrize("name, size", [("Unet", (75, 101)), ("FPN", (61, 90))])
def test_labels_of_one_class_are_the_librarys(name, size, activation):
    net = make_smp(name, classes=1, activation=activation)
    with torch.no_grad():  # so that both classes are there
        logits = cffm_plugin.wrap(net, temporal=None).eval()(torch.rand(1, 3, *size) * 255).logits
        net.segmentation_head[0].bias -= logits[:, 1].median()
    model = cffm_plugin.wrap(net, **OPTIONS).eval()
    frame = torch.randint(0, 256, (3, *size)).float()
    batch, _ = model.normalise_and_pad([frame])
    with torch.no_grad():
        probability = net.predict(batch)[0, 0, : size[0], : size[1]]
        labels = model(frame[None]).labels[0]
    probability = probability if activation else probability.sigmoid()
    expected = probability > 0.5
    assert 0.05 < expected.float().mean() < 0.95
    sure = (probability - 0.5).abs() > 1e-5
    assert torch.equal((labels == 1)[sure], expected[sure])


def test_a_classification_head_beside_it_stays_as_it_is():
    net = make_smp("Unet", aux_params={"classes": 3})
    model = cffm_plugin.wrap(net, **OPTIONS)
    still = {name for name, p in model.backbone.net.named_parameters() if not p.requires_grad}
    assert still == {n for n, _ in net.named_parameters() if n.startswith("classification_head")}


def test_a_folder_that_the_library_saved_is_wrapped_by_its_name(tmp_path):
    net = make_smp("Unet")
    net.save_pretrained(tmp_path)
    model = cffm_plugin.wrap(tmp_path, **OPTIONS).eval()
    assert_starts_as(model, net, (64, 96))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        cffm_plugin.wrap(tmp_path)


def test_images_are_normalised_as_its_encoders_weights_need_it():
    net = make_smp("Unet")
    net._hub_mixin_config = net.config | {"encoder_name": "tu-dpn68", "encoder_weights": "imagenet"}
    model = cffm_plugin.wrap(net, **OPTIONS)
    # DPN's own: 124/255, 117/255, 104/255, and 1 / (0.0167 * 255) for all.
    assert model.pixel_mean.flatten().tolist() == pytest.approx([124, 117, 104], abs=0.1)
    assert model.pixel_std.flatten().tolist() == pytest.approx([1 / 0.0167] * 3, rel=1e-3)


@pytest.mark.parametrize("classes", [1, 4])
def test_a_loss_of_the_library_by_its_name_is_that_loss_without_pixels_of_no_class(classes):
    net = make_smp("Unet", classes=classes)
    model = cffm_plugin.wrap(net, loss="DiceLoss", temporal=None).eval()
    frames = torch.randint(0, 256, (2, 1, 3, 64, 96)).float()
    labels = torch.randint(0, max(2, classes), (2, 64, 96))
    labels[:, :20] = 255
    mode = "binary" if classes == 1 else "multiclass"
    loss = smp.losses.DiceLoss(mode, ignore_index=255)
    with torch.no_grad():
        logits = net(torch.cat([model.normalise_and_pad([frame[0]])[0] for frame in frames]))
        expected = loss(logits, labels[:, None] if classes == 1 else labels)
        found = model(frames, labels=labels)
    torch.testing.assert_close(found.loss, expected)
    assert set(found.losses) == {"loss_sem_seg"}


def test_losses_that_there_are_not_or_that_count_pixels_of_no_class_are_errors():
    net = make_smp("Unet")
    with pytest.raises(ValueError, match=r"no loss 'DiceLos'.*DiceLoss"):
        cffm_plugin.wrap(net, loss="DiceLos")
    with pytest.raises(ValueError, match="counts pixels without a class"):
        cffm_plugin.wrap(net, loss="MCCLoss")
    with pytest.raises(ValueError, match="only segmentation_models_pytorch's losses"):
        cffm_plugin.wrap(torch.nn.Conv2d(3, 2, 1), loss="DiceLoss")
