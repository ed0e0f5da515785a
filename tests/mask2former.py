"""Stands in for the package ``mask2former``: a small segmentor with its interface and its keys.

It is not Mask2Former, and nothing of it is from there; the names are, so that configs for it run.

The meta-architecture has a criterion and makes its own semantic map; the head has a pixel decoder
and a transformer predictor whose queries attend to several scales, within their own masks. Like the
real ones, head and predictor rename weights whose state dict says no version, the pixel decoder
reads sizes out of a tensor, and the architecture is built of the first dataset's metadata.
"""

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog
from detectron2.layers import ShapeSpec
from detectron2.modeling import (
    META_ARCH_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
    build_backbone,
    build_sem_seg_head,
)
from detectron2.modeling.postprocessing import sem_seg_postprocess
from detectron2.structures import ImageList
from scipy.optimize import linear_sum_assignment
from torch import nn

WIDTH = 16


class Versioned(nn.Module):
    """Weights of version 1, and those that say none, are renamed as those of the first code."""

    _version = 2

    def _rename(self, name, prefix):
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *arguments):
        if (local_metadata.get("version") or 1) < 2:
            for name in list(state_dict):
                state_dict[self._rename(name, prefix)] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *arguments)


def add_maskformer2_config(cfg):
    """The keys of Mask2Former that a config for semantic segmentation with a ResNet has."""
    cfg.INPUT.DATASET_MAPPER_NAME = "mask_former_semantic"
    cfg.INPUT.COLOR_AUG_SSD = False
    cfg.INPUT.SIZE_DIVISIBILITY = -1
    cfg.SOLVER.OPTIMIZER = "ADAMW"
    cfg.SOLVER.WEIGHT_DECAY_EMBED = 0.0
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.1
    head = cfg.MODEL.SEM_SEG_HEAD
    head.MASK_DIM = 256
    head.TRANSFORMER_ENC_LAYERS = 0
    head.PIXEL_DECODER_NAME = "BasePixelDecoder"
    head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES = ["res3", "res4", "res5"]
    cfg.MODEL.MASK_FORMER = node = CfgNode()
    node.DEEP_SUPERVISION = True
    node.NO_OBJECT_WEIGHT = 0.1
    node.CLASS_WEIGHT, node.DICE_WEIGHT, node.MASK_WEIGHT = 1.0, 1.0, 20.0
    node.NHEADS, node.DROPOUT, node.DIM_FEEDFORWARD = 8, 0.1, 2048
    node.ENC_LAYERS, node.DEC_LAYERS = 0, 6
    node.PRE_NORM, node.ENFORCE_INPUT_PROJ = False, False
    node.HIDDEN_DIM, node.NUM_OBJECT_QUERIES = 256, 100
    node.TRANSFORMER_DECODER_NAME = "MultiScaleMaskedTransformerDecoder"
    node.TRANSFORMER_IN_FEATURE = "res5"
    node.SIZE_DIVISIBILITY = 32
    node.TRAIN_NUM_POINTS = 112 * 112
    node.OVERSAMPLE_RATIO, node.IMPORTANCE_SAMPLE_RATIO = 3.0, 0.75
    node.TEST = CfgNode()
    node.TEST.SEMANTIC_ON, node.TEST.INSTANCE_ON, node.TEST.PANOPTIC_ON = True, False, False
    node.TEST.OBJECT_MASK_THRESHOLD, node.TEST.OVERLAP_THRESHOLD = 0.0, 0.0
    node.TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE = False


class PixelDecoder(nn.Module):
    def __init__(self, input_shape):
        super().__init__()
        self.names = sorted(input_shape, key=lambda name: input_shape[name].stride)
        self.lateral = nn.ModuleDict(
            {name: nn.Conv2d(input_shape[name].channels, WIDTH, 1) for name in self.names}
        )
        self.mask_features = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward_features(self, features):
        maps = [self.lateral[name](features[name]) for name in self.names]
        shapes = torch.as_tensor([x.shape[-2:] for x in maps], device=maps[0].device)
        flat = torch.cat([x.flatten(2) for x in maps], dim=2).split([h * w for h, w in shapes], 2)
        maps = [x.unflatten(2, tuple(like.shape[-2:])) for x, like in zip(flat, maps)]
        fused = maps[-1]
        multi_scale = [fused]
        for finer in reversed(maps[:-1]):
            fused = finer + F.interpolate(fused, size=finer.shape[-2:], mode="bilinear")
            multi_scale.append(fused)
        return self.mask_features(fused), maps[-1], multi_scale[:3]


class Predictor(Versioned):
    """Two layers: every query attends, within its mask, to one scale after the other."""

    def __init__(self, queries, num_classes):
        super().__init__()
        self.queries = nn.Embedding(queries, WIDTH)
        self.attention = nn.ModuleList(
            nn.MultiheadAttention(WIDTH, 2, batch_first=True) for _ in range(2)
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.class_embed = nn.Linear(WIDTH, num_classes + 1)
        self.mask_embed = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))

    def _rename(self, name, prefix):
        return name.replace("static_query", "queries")

    def forward(self, x, mask_features, mask=None):
        scales = x if isinstance(x, list) else [x]
        query = self.queries.weight.expand(len(mask_features), -1, -1)
        outputs = [self._predict(query, mask_features)]
        for i, attention in enumerate(self.attention):
            scale = scales[i % len(scales)]
            own = F.interpolate(outputs[-1]["pred_masks"], size=scale.shape[-2:], mode="bilinear")
            hidden = (own.flatten(2).sigmoid() < 0.5).detach()
            hidden &= ~hidden.all(dim=-1, keepdim=True)  # an empty mask attends everywhere
            cells = scale.flatten(2).transpose(1, 2)
            attended, _ = attention(query, cells, cells, attn_mask=hidden.repeat(2, 1, 1))
            query = query + attended
            outputs.append(self._predict(query, mask_features))
        return {**outputs[-1], "aux_outputs": outputs[:-1]}

    def _predict(self, query, mask_features):
        query = self.norm(query)
        masks = torch.einsum("nqc,nchw->nqhw", self.mask_embed(query), mask_features)
        return {"pred_logits": self.class_embed(query), "pred_masks": masks}


@SEM_SEG_HEADS_REGISTRY.register()
class MaskFormerHead(Versioned):
    def __init__(self, cfg, input_shape: dict[str, ShapeSpec]):
        super().__init__()
        head = cfg.MODEL.SEM_SEG_HEAD
        self.num_classes, self.ignore_value = head.NUM_CLASSES, head.IGNORE_VALUE
        self.transformer_in_feature = cfg.MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE
        self.pixel_decoder = PixelDecoder({n: input_shape[n] for n in head.IN_FEATURES})
        queries = cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES
        self.predictor = Predictor(queries, head.NUM_CLASSES)

    def _rename(self, name, prefix):
        if not name.startswith(prefix) or name.startswith(f"{prefix}predictor"):
            return name
        return name.replace(prefix, f"{prefix}pixel_decoder.")

    def forward(self, features, mask=None):
        mask_features, of_encoder, multi_scale = self.pixel_decoder.forward_features(features)
        attended = {
            "multi_scale_pixel_decoder": multi_scale,
            "transformer_encoder": of_encoder,
            "pixel_embedding": mask_features,
        }.get(self.transformer_in_feature)
        if attended is None:
            attended = self.pixel_decoder.lateral["res5"](features[self.transformer_in_feature])
        return self.predictor(attended, mask_features, mask)


class Criterion(nn.Module):
    """Cross entropy of the classes and of the masks of matched queries."""

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.weight_dict = {"loss_ce": 2.0, "loss_mask": 5.0}
        self.weight_dict |= {f"{k}_{i}": v for i in range(2) for k, v in self.weight_dict.items()}
        weight = torch.ones(num_classes + 1)
        weight[-1] = 0.1
        self.register_buffer("empty_weight", weight)

    def forward(self, outputs, targets):
        losses = self._losses(outputs, targets)
        for i, auxiliary in enumerate(outputs.get("aux_outputs", [])):
            named = self._losses(auxiliary, targets)
            losses |= {f"{name}_{i}": loss for name, loss in named.items()}
        losses["not_in_weight_dict"] = torch.zeros(())
        return losses

    def _losses(self, outputs, targets):
        of_classes, of_masks = [], []
        for logits, masks, target in zip(outputs["pred_logits"], outputs["pred_masks"], targets):
            wanted = F.interpolate(target["masks"][None].float(), size=masks.shape[-2:])[0]
            cost = torch.stack(
                [F.binary_cross_entropy_with_logits(masks, w.expand_as(masks), reduction="none")
                 .mean(dim=(1, 2)) for w in wanted], dim=1
            ) if len(wanted) else masks.new_zeros(len(masks), 0)  # fmt: skip
            cost = cost - logits.softmax(-1)[:, target["labels"]]
            rows, columns = map(
                torch.as_tensor, linear_sum_assignment(cost.detach().float().numpy())
            )
            classes = torch.full((len(logits),), self.num_classes)
            classes[rows] = target["labels"][columns]
            of_classes.append(F.cross_entropy(logits, classes, self.empty_weight))
            of_masks.append(
                F.binary_cross_entropy_with_logits(masks[rows], wanted[columns], reduction="sum")
                / max(1, wanted.numel())
            )
        return {
            "loss_ce": torch.stack(of_classes).mean(),
            "loss_mask": torch.stack(of_masks).mean(),
        }


@META_ARCH_REGISTRY.register()
class MaskFormer(nn.Module):
    @configurable
    def __init__(
        self, *, backbone, sem_seg_head, criterion, size_divisibility, resize_first, metadata,
        pixel_mean, pixel_std,
    ):  # fmt: skip
        super().__init__()
        self.backbone, self.sem_seg_head, self.criterion = backbone, sem_seg_head, criterion
        self.size_divisibility = size_divisibility
        self.sem_seg_postprocess_before_inference = resize_first
        self.metadata = metadata
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)

    @classmethod
    def from_config(cls, cfg):
        backbone, node = build_backbone(cfg), cfg.MODEL.MASK_FORMER
        return {
            "backbone": backbone,
            "sem_seg_head": build_sem_seg_head(cfg, backbone.output_shape()),
            "criterion": Criterion(cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES),
            "size_divisibility": node.SIZE_DIVISIBILITY,
            "resize_first": node.TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE,
            "metadata": MetadataCatalog.get(cfg.DATASETS.TRAIN[0]),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    def prepare_targets(self, targets, images):
        height, width = images.tensor.shape[-2:]
        prepared = []
        for of_image in targets:
            masks = of_image.gt_masks
            padded = torch.zeros(len(masks), height, width, dtype=masks.dtype)
            padded[:, : masks.shape[1], : masks.shape[2]] = masks
            prepared.append({"labels": of_image.gt_classes, "masks": padded})
        return prepared

    def forward(self, batched_inputs):
        images = [(x["image"] - self.pixel_mean) / self.pixel_std for x in batched_inputs]
        images = ImageList.from_tensors(images, self.size_divisibility)
        outputs = self.sem_seg_head(self.backbone(images.tensor))
        if self.training:
            targets = self.prepare_targets([x["instances"] for x in batched_inputs], images)
            losses = self.criterion(outputs, targets)
            weights = self.criterion.weight_dict
            return {name: weights[name] * x for name, x in losses.items() if name in weights}
        masks = F.interpolate(outputs["pred_masks"], size=images.tensor.shape[-2:], mode="bilinear")
        results = []
        for i, item in enumerate(batched_inputs):
            size = images.image_sizes[i]
            output = item.get("height", size[0]), item.get("width", size[1])
            of_image = masks[i]
            if self.sem_seg_postprocess_before_inference:
                of_image = sem_seg_postprocess(of_image, size, *output)
            classes = outputs["pred_logits"][i].softmax(dim=-1)[..., :-1]
            scores = torch.einsum("qc,qhw->chw", classes, of_image.sigmoid())
            if not self.sem_seg_postprocess_before_inference:
                scores = sem_seg_postprocess(scores, size, *output)
            results.append({"sem_seg": scores})
        return results
