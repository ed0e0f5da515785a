"""build_hf_segmenter: a model of Hugging Face's as a detectron2 SemanticSegmentor."""

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, SemanticSegmentor

from ...families.huggingface_files import read_model_config, read_pixel_statistics
from ...families.huggingface_loading import check_number_of_classes, load_model
from ...libraries import import_library
from .families import FAMILIES, architecture_of
from .mask_head import HFMaskHead


def _from_config(cfg: CfgNode) -> dict[str, Any]:
    node, temporal = cfg.MODEL.HF, cfg.MODEL.TEMPORAL
    return {
        "name": node.NAME,
        "num_classes": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
        "new_classifier": node.NEW_CLASSIFIER,
        "pretrained": node.PRETRAINED,
        "own_criterion": not (temporal.ENABLED and temporal.FREEZE_IMAGE_SEGMENTER),
        "ignore_value": cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
        "pixel_mean": cfg.MODEL.PIXEL_MEAN,
        "pixel_std": cfg.MODEL.PIXEL_STD,
    }


@META_ARCH_REGISTRY.register()
@configurable(from_config=_from_config)
def build_hf_segmenter(
    *,
    name: str,
    num_classes: int | None = None,
    new_classifier: bool = False,
    pretrained: bool = True,
    own_criterion: bool = True,
    ignore_value: int = 255,
    pixel_mean: Sequence[float] | None = None,
    pixel_std: Sequence[float] | None = None,
) -> SemanticSegmentor:
    """A segmentor of transformers', taken apart into ``HFBackbone`` and a head with an embedding.

    Its logits are those of transformers on images whose sides are multiples of the stride and of
    what is padded to. For CFFMSegmentor: MODEL.IMAGE_ARCHITECTURE build_hf_segmenter.

    Args:
        name: a folder that ``save_pretrained`` wrote, or a name on the Hugging Face hub.
        num_classes: K; None for the model's own.
        new_classifier: the classifier starts anew, for K classes.
        pretrained: load the model's weights; False where others come later.
        own_criterion: mask classification is trained by transformers' criterion. False: by the
            cross entropy of the semantic map, as suits a frozen model's temporal module.
        ignore_value: label of pixels without a class.
        pixel_mean, pixel_std: per channel, in units of 0..255; None for the model's own.

    Raises:
        ModuleNotFoundError: transformers is not installed.
        FileNotFoundError: there is no such model, or its weights are missing.
        ValueError: it is of a kind that is not supported, or has another number of classes; its
            weights don't fit its config; or nobody says how images are normalised.
    """
    config = read_model_config(name)
    architecture = architecture_of(name, config)
    family = FAMILIES[architecture]
    for library in family.needs:
        import_library(library, f"{architecture} of transformers")
    if num_classes is not None and new_classifier:
        config.num_labels = num_classes
    elif num_classes is not None:
        check_number_of_classes(name, config.num_labels, num_classes)
    if pixel_mean is None or pixel_std is None:
        statistics = read_pixel_statistics(name)
        if statistics is None:
            raise ValueError(
                f"{name} does not say how images are normalised: give pixel_mean, _std"
            )
        pixel_mean, pixel_std, _ = statistics
    model = load_model(name, config, architecture, pretrained)
    if new_classifier:
        for layer in family.classifiers(model):
            layer.reset_parameters()
    backbone, head = family.split(model, ignore_value)
    if not own_criterion and isinstance(head, HFMaskHead):
        head.criterion = None
    backbone.brings_weights = pretrained
    head.brings_weights = pretrained and not new_classifier
    return SemanticSegmentor(
        backbone=backbone, sem_seg_head=head, pixel_mean=pixel_mean, pixel_std=pixel_std
    )
