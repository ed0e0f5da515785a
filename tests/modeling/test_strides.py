"""The stride of an embedding: measured on four sides, and looked at in every image."""

import math

import pytest
import torch
from detectron2.modeling import Backbone
from tiny_models import NUM_CLASSES, PIXELS, make_clip
from torch import nn

from cffm_plugin.core.strides import in_words, sizes_to_measure, stride_of
from cffm_plugin.modeling import CFFMSegmentor
from cffm_plugin.modeling.heads import embedding_of


class Patches(Backbone):
    """A map of one cell a patch; what is left of a side is cut off, or padded where asked."""

    def __init__(self, patch, size_divisibility=0, pads=False):
        super().__init__()
        self.patch, self.pads = patch, pads
        self.project = nn.Conv2d(3, 8, patch, stride=patch)
        self._size_divisibility = size_divisibility
        self._out_features = ["map"]
        self._out_feature_channels, self._out_feature_strides = {"map": 8}, {"map": patch}

    @property
    def size_divisibility(self):
        return self._size_divisibility

    def forward(self, image):
        if self.pads:
            height, width = image.shape[2:]
            image = nn.functional.pad(image, (0, -width % self.patch, 0, -height % self.patch))
        return {"map": self.project(image)}


class StridelessHead(nn.Module):
    def __init__(self, **stated):
        super().__init__()
        self.predictor = nn.Conv2d(8, NUM_CLASSES, 1)
        for name, value in stated.items():
            setattr(self, name, value)

    def embed(self, features):
        return features["map"], None

    def classify(self, embedding, context):
        return self.predictor(embedding)


@pytest.mark.parametrize("divisibility", [0, 4, 14, 16, 32, 56, 64])
def test_every_stride_that_divides_the_sides_is_told_from_all_others(divisibility):
    sides = {side for size in sizes_to_measure(divisibility) for side in size}
    assert len(sides) == 4
    assert all(side % max(1, divisibility) == 0 for side in sides)
    for stride in (2, 4, 8, 14, 16, 32):
        if divisibility % stride == 0 or divisibility == 0:
            assert stride_of({side: math.ceil(side / stride) for side in sides}) == stride


def test_patches_of_14_are_not_16_though_both_have_4_cells_on_64_pixels():
    assert stride_of({64: 4, 96: 6}) == 16
    assert stride_of({70: 5, 98: 7, 168: 12, 224: 16}) == 14
    assert stride_of({64: 4, 96: 6, 160: 11, 224: 16}) is None  # cut off: 2 to 12 pixels are lost
    assert in_words({224: 16, 64: 4}) == "4 cells on 64 pixels, 16 on 224"


@pytest.mark.parametrize("size_divisibility, pads", [(14, False), (0, True)])
def test_a_strangers_patches_of_14_are_measured_and_cover_every_image(size_divisibility, pads):
    """Nearest pixels of a map whose cells are 14 pixels: what stands at (y, x) is of its cell."""
    torch.manual_seed(0)
    parts = {
        "backbone": Patches(14, size_divisibility, pads),
        "sem_seg_head": StridelessHead(),
        **PIXELS,
    }
    model = CFFMSegmentor(**parts).eval()
    assert model.head.stride == 14
    image = torch.randint(0, 256, (3, 75, 131)).float()
    with torch.no_grad():
        encoded = model.encode([image])
        logits = model.coarse(model.classify(encoded), encoded, [(75, 131)])[0].full_resolution()
    assert encoded.embedding.shape[2:] == (6, 10)
    whole = nn.functional.interpolate(
        model.classify(encoded).logits(),
        size=(6 * 14, 10 * 14),
        mode="bilinear",
        align_corners=False,
    )
    torch.testing.assert_close(logits, whole[0, :, :75, :131])


def test_patches_that_cut_images_off_are_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"4 cells on 64 pixels, 6 on 96.*size_divisibility"):
        embedding_of(StridelessHead(), Patches(14))


def test_a_stated_stride_is_compared_with_the_embeddings():
    stated = {"embedding_channels": 8, "num_classes": NUM_CLASSES}
    for stride, backbone in ((16, Patches(14, 14)), (8, Patches(16)), (14, Patches(14))):
        with pytest.raises(ValueError, match=rf"states a stride of {stride} and makes"):
            embedding_of(StridelessHead(embedding_stride=stride, **stated), backbone)


def test_an_image_that_its_cells_do_not_cover_is_an_error_and_no_stretched_picture():
    """Whatever was measured: 480 pixels have 34 patches of 14, which are 476 pixels."""
    parts = {"backbone": Patches(14, 14), "sem_seg_head": StridelessHead(), **PIXELS}
    model = CFFMSegmentor(**parts).eval()
    model.head.size_divisibility = 0  # so that nobody pads
    with pytest.raises(ValueError, match=r"34x2 cells of an image of 480x28 pixels.*stride of 14"):
        model.encode(make_clip((480, 28), frames=1)["image"])
