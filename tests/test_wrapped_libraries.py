"""Nets of torchvision become video segmentors by one line."""

import pytest
import torch
from torch import nn
from torchvision.models import segmentation
from wrapped_nets import (
    NUM_CLASSES,
    OPTIONS,
    assert_comes_back,
    assert_starts_as,
    assert_streams_as_clips,
    assert_trains,
    make_the_past_matter,
)

import cffm_plugin
from lab.segmentor_zoo import with_visible_logits

SIZES = [(64, 96), (75, 101)]
TORCHVISION = {
    "fcn_resnet50": ["classifier.4"],
    "deeplabv3_mobilenet_v3_large": ["classifier.4"],
    "lraspp_mobilenet_v3_large": ["classifier.low_classifier", "classifier.high_classifier"],
}


def torchvision_net(kind, **options):
    weights = {"weights": None, "weights_backbone": None, "num_classes": NUM_CLASSES}
    return with_visible_logits(getattr(segmentation, kind)(**weights, **options))


@pytest.mark.parametrize(
    "kind, options",
    [
        ("fcn_resnet50", {}),
        ("deeplabv3_mobilenet_v3_large", {"aux_loss": True}),
        ("lraspp_mobilenet_v3_large", {}),
    ],
)
def test_every_net_of_torchvision_is_a_video_segmentor(kind, options, tmp_path):
    net = torchvision_net(kind, **options)
    model = cffm_plugin.wrap(net, **OPTIONS).eval()
    for size in SIZES:
        assert_starts_as(model, lambda images: net(images)["out"], size)
    assert_streams_as_clips(model, (64, 96))
    assert_trains(model, (64, 96))
    assert_comes_back(model, tmp_path, torchvision_net(kind, **options), (64, 96))
    named = TORCHVISION[kind]
    again = cffm_plugin.wrap(net, named if len(named) > 1 else named[0], **OPTIONS).eval()
    assert_starts_as(again, lambda images: net(images)["out"], (75, 101))


def test_an_auxiliary_classifier_stays_as_it_is():
    net = torchvision_net("deeplabv3_mobilenet_v3_large", aux_loss=True)
    model = cffm_plugin.wrap(net, **OPTIONS)
    still = {name for name, p in model.backbone.net.named_parameters() if not p.requires_grad}
    assert still == {name for name, _ in net.named_parameters() if name.startswith("aux_")}


@pytest.mark.parametrize("aligned", [False, True])
def test_an_exported_stream_of_a_wrapped_net_gives_what_the_model_gives(aligned, tmp_path):
    pytest.importorskip("onnxruntime")
    from cffm_plugin.export import (
        StreamSpec,
        compare,
        export_stream,
        onnx_runner,
        random_frames,
    )

    resize = nn.Upsample(scale_factor=4, mode="bilinear", align_corners=aligned)
    net = small_net(resize) if aligned else torchvision_net("lraspp_mobilenet_v3_large")
    model, size = cffm_plugin.wrap(net, **OPTIONS).eval(), (75, 101)
    make_the_past_matter(model)
    spec = StreamSpec(frame_offsets=model.frame_offsets)
    export_stream(model, spec, tmp_path, size, formats=("onnx",))
    manifest = onnx_runner.read_manifest(tmp_path)
    stream = onnx_runner.Stream(manifest, onnx_runner.load_graphs(tmp_path, manifest))
    frames = random_frames(size, 12)
    agreement = compare(cffm_plugin.StreamingSegmentor(model), stream, frames)
    assert agreement.frames == 12 and agreement.logits <= 1e-3


def small_net(*after, kernel_size=1, outputs=NUM_CLASSES):
    torch.manual_seed(0)
    classifier = nn.Conv2d(8, outputs, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(
        nn.Conv2d(3, 8, 9, stride=4, padding=4), nn.ReLU(), classifier, *after
    ).eval()


class ChannelsLast(nn.Module):
    """A net that classifies by a linear map."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 9, stride=4, padding=4)
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, images):
        return self.head(self.stem(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def upsampled(net, images):
    return nn.functional.interpolate(net(images), scale_factor=4, mode="bilinear")


@pytest.mark.parametrize("net", [small_net(kernel_size=3), ChannelsLast()])
def test_a_classifier_is_any_convolution_or_a_linear_map(net, tmp_path):
    model = cffm_plugin.wrap(net, **OPTIONS).eval()
    for size in SIZES:
        assert_starts_as(model, lambda images: upsampled(net, images), size)
    assert_streams_as_clips(model, (64, 96))
    assert_trains(model, (64, 96))
    assert_comes_back(model, tmp_path, net, (64, 96))


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("last", [nn.Sigmoid(), nn.Softmax(dim=1), nn.LogSoftmax(dim=1)])
def test_what_is_after_the_resize_is_recognised_and_labels_are_the_nets(aligned, last):
    net = small_net(nn.Upsample(scale_factor=4, mode="bilinear", align_corners=aligned), last)
    model = cffm_plugin.wrap(net, **OPTIONS).eval()
    assert model.head.upsampling.align_corners == aligned
    frame = torch.randint(0, 256, (3, 64, 96)).float()
    with torch.no_grad():
        own = net(((frame - model.pixel_mean) / model.pixel_std)[None])
        logits = model(frame[None]).logits
    torch.testing.assert_close(last(logits), own)


class Shift(nn.Module):
    """Adds a buffer, which is nothing at first."""

    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.zeros(1))

    def forward(self, maps):
        return maps + self.shift


@pytest.mark.parametrize("named", [None, "2"])
@pytest.mark.parametrize(
    "after",
    [
        nn.BatchNorm2d(NUM_CLASSES),
        nn.BatchNorm2d(NUM_CLASSES, affine=False),
        nn.PReLU(NUM_CLASSES, init=1.0),
        Shift(),
    ],
)
def test_what_could_learn_after_the_classifier_is_refused_though_it_does_nothing_yet(after, named):
    resize = nn.Upsample(scale_factor=4, mode="bilinear")
    for order in ([after, resize], [resize, after], [after]):
        with pytest.raises(ValueError, match="othing with weights or buffers"):
            cffm_plugin.wrap(small_net(*order), named, size_divisibility=4)


@pytest.mark.parametrize("activation", [[], [nn.Sigmoid()]])
def test_one_logit_is_two_classes_of_which_the_second_is_where_the_sigmoid_is_above_half(
    activation, tmp_path
):
    resize = nn.Upsample(scale_factor=4, mode="bilinear", align_corners=True)
    net = small_net(resize, *activation, outputs=1)
    model = cffm_plugin.wrap(net, **OPTIONS).eval()
    assert model.num_classes == 2
    frame = torch.randint(0, 256, (3, 64, 96)).float()
    with torch.no_grad():
        own = net(((frame - model.pixel_mean) / model.pixel_std)[None])
        out = model(frame[None])
    probability = own if activation else own.sigmoid()
    assert 0.1 < (probability > 0.5).float().mean() < 0.9
    assert torch.equal(out.labels == 1, (probability > 0.5)[:, 0])
    torch.testing.assert_close(out.logits.softmax(dim=1)[:, 1:], probability)
    assert_streams_as_clips(model, (64, 96))
    assert_trains(model, (64, 96))
    assert_comes_back(model, tmp_path, net, (64, 96))


def test_the_cross_entropy_of_one_logit_is_the_binary_one():
    net = small_net(outputs=1)
    model = cffm_plugin.wrap(net, temporal=None).train()
    frames = torch.randint(0, 256, (2, 1, 3, 64, 96)).float()
    labels = torch.randint(0, 2, (2, 64, 96))
    own = net((frames[:, 0] - model.pixel_mean) / model.pixel_std)
    own = nn.functional.interpolate(own, size=(64, 96), mode="bilinear")[:, 0]
    expected = nn.functional.binary_cross_entropy_with_logits(own, labels.float())
    torch.testing.assert_close(model(frames, labels=labels).loss, expected)


def test_a_loss_of_ones_own_gets_logits_and_labels_of_the_same_size():
    seen = []

    def loss(logits, labels):
        seen.append((tuple(logits.shape), tuple(labels.shape)))
        return nn.functional.cross_entropy(logits, labels, ignore_index=255)

    model = cffm_plugin.wrap(small_net(), loss=loss, **OPTIONS).train()
    clips, labels = torch.zeros(2, 4, 3, 64, 96), torch.zeros(2, 64, 96).long()
    out = model(clips, labels=labels)
    assert set(out.losses) == {"loss_sem_seg", "loss_video"} and out.loss.isfinite()
    assert {shapes[0][1:] for shapes in seen} == {(NUM_CLASSES, 64, 96)}
    assert all(labels_shape[1:] == (64, 96) for _, labels_shape in seen)


class Picky(nn.Module):
    """A net that takes some sizes alone.

    Args:
        takes: a height and a width -> whether it takes them.
        stride: of its cells; without padding, so that it cuts images off.
    """

    def __init__(self, takes, stride, **attributes):
        super().__init__()
        torch.manual_seed(0)
        self.takes = takes
        self.embed = nn.Conv2d(3, 8, stride, stride=stride)
        self.classify = nn.Conv2d(8, NUM_CLASSES, 1)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, images):
        if not self.takes(*images.shape[-2:]):
            raise AssertionError("I do not take it")
        return self.classify(self.embed(images))


@pytest.mark.parametrize(
    "takes, stride, expected",
    [
        (lambda height, width: True, 4, 4),
        (lambda height, width: True, 14, 14),
        (lambda height, width: True, 16, 16),
        (lambda height, width: height % 32 == width % 32 == 0, 4, 32),
        (lambda height, width: min(height, width) >= 100, 8, 8),  # none of the small ones
    ],
)
def test_what_sides_are_padded_to_is_found_out(takes, stride, expected):
    model = cffm_plugin.wrap(Picky(takes, stride), **OPTIONS)
    assert model.backbone.size_divisibility == expected
    assert model.head.stride == stride


def test_a_net_of_one_size_gets_smaller_frames_padded_and_refuses_larger_ones():
    net = Picky(lambda height, width: height == width == 56, 14, img_size=(56, 56)).eval()
    model = cffm_plugin.wrap(net, **OPTIONS).eval()

    def own(images):
        assert images.shape[-2:] == (56, 56)
        return nn.functional.interpolate(net(images), scale_factor=14, mode="bilinear")

    for size in [(56, 56), (40, 51)]:
        assert_starts_as(model, own, size)
    with pytest.raises(ValueError, match="takes 56x56 and no more"):
        model(torch.zeros(1, 3, 57, 40))
    unknown = Picky(lambda height, width: height == width == 56, 14)
    with pytest.raises(ValueError, match=r"image_size=224.*I do not take it"):
        cffm_plugin.wrap(unknown)
    given = cffm_plugin.wrap(unknown, image_size=56, **OPTIONS)
    assert given.backbone.padding_constraints == {"square_size": 56}


def test_cells_that_are_no_whole_number_of_pixels_are_refused_with_their_number():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 14, stride=14),
        nn.Upsample(scale_factor=4, mode="nearest"),
        nn.Conv2d(8, NUM_CLASSES, 1),
    )
    with pytest.raises(ValueError, match=r"2 makes 20 cells on 70 pixels.* whole number of pixels"):
        cffm_plugin.wrap(net, size_divisibility=14)
