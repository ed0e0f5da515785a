"""Heads built like MaskFormer's that are called otherwise, give logits, or offer the contract."""

import sys
import types

import pytest
import torch
import torch.nn.functional as F
from detectron2.data import MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY, build_model
from mask2former import MaskFormerHead, Predictor
from pages import DOCS, blocks_of
from test_mask_classification import make_config
from tiny_models import NUM_CLASSES, make_clip
from torch import nn

from cffm_plugin.engine import CFFMTrainer
from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.modeling import MaskPrediction

SIZE = (75, 101)  # MASK_FORMER.SIZE_DIVISIBILITY makes it 96 x 128


class TaskPredictor(Predictor):
    """Takes a task, (N, 16), as OneFormer's does."""

    def forward(self, x, mask_features, tasks, mask=None):
        return super().forward(x, mask_features + tasks[:, :, None, None], mask)


class TaskHead(MaskFormerHead):
    def __init__(self, cfg, input_shape):
        super().__init__(cfg, input_shape)
        self.predictor = TaskPredictor(5, NUM_CLASSES)


@SEM_SEG_HEADS_REGISTRY.register()
class ClosedTaskHead(TaskHead):
    def forward(self, features, tasks):
        mask_features, _, scales = self.pixel_decoder.forward_features(features)
        return self.predictor(scales, mask_features, tasks)


@SEM_SEG_HEADS_REGISTRY.register()
class ChattyHead(MaskFormerHead):
    """Its decoder gives five results, as OneFormer's does."""

    def __init__(self, cfg, input_shape):
        super().__init__(cfg, input_shape)
        own = self.pixel_decoder.forward_features
        self.pixel_decoder.forward_features = lambda features: (*own(features), None, None)


@SEM_SEG_HEADS_REGISTRY.register()
class MaskedHead(MaskFormerHead):
    """Its decoder wants masks of the padding, as MaskDINO's does."""

    def __init__(self, cfg, input_shape):
        super().__init__(cfg, input_shape)
        own = self.pixel_decoder.forward_features
        self.pixel_decoder.forward_features = lambda features, masks: own(features)


class PairPredictor(Predictor):
    def forward(self, x, mask_features, masks=None):
        return super().forward(x, mask_features), None


@SEM_SEG_HEADS_REGISTRY.register()
class PairHead(MaskFormerHead):
    """Its predictor gives a pair, as MaskDINO's does."""

    def __init__(self, cfg, input_shape):
        super().__init__(cfg, input_shape)
        self.predictor = PairPredictor(5, NUM_CLASSES)


class ClasslessPredictor(Predictor):
    """A query for every class, as in MaskFormer's baseline of pixels."""

    def forward(self, x, mask_features, mask=None):
        outputs = super().forward(x, mask_features)
        return {"pred_masks": outputs["pred_masks"], "aux_outputs": outputs["aux_outputs"]}


@SEM_SEG_HEADS_REGISTRY.register()
class PixelBaselineHead(MaskFormerHead):
    def __init__(self, cfg, input_shape):
        super().__init__(cfg, input_shape)
        self.predictor = ClasslessPredictor(NUM_CLASSES, NUM_CLASSES)

    def forward(self, features, targets=None):
        logits = super().forward(features)["pred_masks"]
        logits = F.interpolate(logits, scale_factor=4, mode="bilinear")
        if not self.training:
            return logits, {}
        logits = logits[..., : targets.shape[1], : targets.shape[2]]
        return None, {"loss_sem_seg": F.cross_entropy(logits, targets, ignore_index=255)}


class ByContract(MaskFormerHead):
    """Offers the contract beside what looks like mask classification, with a task of its own."""

    def __init__(self, cfg, input_shape):
        super().__init__(cfg, input_shape)
        self.scale = nn.Parameter(torch.full((), 2.0))

    def embed(self, features):
        mask_features, _, scales = self.pixel_decoder.forward_features(features)
        return self.scale * mask_features, scales


@SEM_SEG_HEADS_REGISTRY.register()
class MasksByContract(ByContract):
    gives_logits = False

    def classify(self, embedding, context):
        outputs = self.predictor(context, embedding)
        return MaskPrediction(outputs["pred_masks"], outputs["pred_logits"])

    def forward(self, features, mask=None):
        return self.predictor(*reversed(self.embed(features)))


@SEM_SEG_HEADS_REGISTRY.register()
class LogitsByContract(ByContract):
    def classify(self, embedding, context):
        return self.predictor(context, embedding)["pred_masks"]

    def forward(self, features, targets=None):
        logits = self.classify(*self.embed(features))
        return F.interpolate(logits, scale_factor=4, mode="bilinear"), {}


@META_ARCH_REGISTRY.register()
class PaddingSegmentor(META_ARCH_REGISTRY.get("MaskFormer")):
    """Logits, of images padded as the architecture says and not as the backbone asks."""

    def forward(self, batched_inputs):
        (item,) = batched_inputs
        height, width = item["image"].shape[1:]
        image = (item["image"] - self.pixel_mean) / self.pixel_std
        side = self.size_divisibility
        image = F.pad(image, (0, -width % side, 0, -height % side))
        logits, _ = self.sem_seg_head(self.backbone(image[None]))
        return [{"sem_seg": logits[0, :, :height, :width]}]


def config_with(head):
    cfg = make_config()
    cfg.MODEL.SEM_SEG_HEAD.NAME = head
    return cfg


@pytest.mark.parametrize(
    "head, difference",
    [
        ("ClosedTaskHead", r"predictor\.forward takes \(x, mask_features, tasks, mask=None\)"),
        ("ChattyHead", r"forward_features gives 5 results, theirs 2 or 3"),
        ("MaskedHead", r"forward_features takes \(features, masks\), theirs \(features\)"),
        ("PairHead", r"predictor gives tuple, theirs pred_masks and pred_logits"),
    ],
)
def test_a_head_of_another_kind_is_told_where_it_differs_and_what_to_write(head, difference):
    with pytest.raises(ValueError, match=rf"{head} can't be wrapped.*{difference}.*embed\(feat"):
        build_model(config_with(head))
    assert "### Other heads with queries" in (DOCS / "wrap-your-segmenter.md").read_text()


def test_queries_that_are_classes_give_logits_and_train_with_the_heads_own_losses():
    cfg = config_with("PixelBaselineHead")
    cfg.MODEL.IMAGE_ARCHITECTURE = "SemanticSegmentor"
    cfg.MODEL.MIT.SIZE_DIVISIBILITY = 32
    model = CFFMTrainer.build_model(cfg).eval()
    clip = make_clip(SIZE)
    with torch.no_grad():
        (of_clip,), (of_frame,) = model([clip]), model([{"image": clip["image"][-1]}])
    assert torch.allclose(of_clip["sem_seg"], of_frame["sem_seg"], atol=1e-5)
    losses = model.train()([make_clip((64, 96), labels=True)])
    assert set(losses) == {"loss_sem_seg", "loss_video"}


@pytest.mark.parametrize(
    "head, architecture",
    [("MasksByContract", "MaskFormer"), ("LogitsByContract", "PaddingSegmentor")],
)
def test_a_heads_contract_goes_before_and_images_are_padded_as_its_architecture_says(
    head, architecture
):
    cfg = config_with(head)
    cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = NUM_CLASSES
    cfg.MODEL.IMAGE_ARCHITECTURE = architecture
    model = CFFMTrainer.build_model(cfg).eval()
    own = META_ARCH_REGISTRY.get(architecture)(cfg).eval()
    missing = own.load_state_dict(model.state_dict(), strict=False).missing_keys
    assert all(name.startswith("criterion.") for name in missing)
    clip = make_clip(SIZE)
    with torch.no_grad():
        (expected,) = own([{"image": clip["image"][-1]}])
        for item in (clip, {"image": clip["image"][-1]}):
            (found,) = model([item])
            assert torch.allclose(found["sem_seg"], expected["sem_seg"], atol=1e-5)
        labels = StreamingSegmentor(model).step(clip["image"][-1], channel_order=model.image_format)
    assert (labels.long() == expected["sem_seg"].argmax(dim=0)).float().mean() > 0.999
    model.train()
    assert all(loss.isfinite() for loss in model([make_clip(SIZE, labels=True)]).values())


def test_an_architecture_that_pads_to_nothing_of_its_own_keeps_its_backbones_choice():
    cfg = config_with("MasksByContract")
    cfg.MODEL.MIT.SIZE_DIVISIBILITY, cfg.MODEL.MASK_FORMER.SIZE_DIVISIBILITY = 16, -1
    assert build_model(cfg).head.size_divisibility == 16


def test_an_architecture_that_asks_for_a_dataset_is_told_the_key():
    # OneFormer's constructor asks for the numbers of things.
    assert MetadataCatalog.get("vspw_train").thing_dataset_id_to_contiguous_id == {}
    cfg = make_config()
    cfg.DATASETS.TRAIN = ()
    with pytest.raises(ValueError, match=r"MaskFormer can't be built.*DATASETS\.TRAIN"):
        build_model(cfg)


def test_the_pages_head_with_queries_is_wrapped(tmp_path, monkeypatch):
    module = types.ModuleType("their_project")
    module.TheirHead = TaskHead
    monkeypatch.setitem(sys.modules, "their_project", module)
    exec(blocks_of("wrap-your-segmenter.md")["my_queries_head.py"], {"__name__": "my_queries_head"})
    cfg = config_with("MyQueriesHead")
    model = CFFMTrainer.build_model(cfg).eval()
    clip = make_clip(SIZE)
    with torch.no_grad():
        (of_clip,), (of_frame,) = model([clip]), model([{"image": clip["image"][-1]}])
    assert torch.equal(of_clip["sem_seg"], of_frame["sem_seg"])
    assert of_clip["sem_seg"].shape == (NUM_CLASSES, *SIZE)
