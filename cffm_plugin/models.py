"""Models by one call: by name, of any image segmentor, or of a folder."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from .core.models import MODELS, create_segmentor, wrap_segmentor
from .libraries import check_detectron2
from .saving import RECIPE, load_weights, read_recipe, recipe_of
from .video_segmentor import VideoSegmentor

__all__ = ["MODELS", "create_model", "from_pretrained", "wrap"]


def create_model(name: str, num_classes: int, **arguments: Any) -> VideoSegmentor:
    """A SegFormer (MiT and its decoder) with a temporal module on top; weights are random.

    Args:
        name: "cffm_mit_b0" to "cffm_mit_b5" for CFFM as in the paper, which the authors' weights
            need; "cffm_recall_mit_b0" to "..._b5" for this package's default; "tv3s_mit_b0" to
            "..._b5" for TV3S; "segformer_mit_b0" to "..._b5" for the image segmentor alone.
            ``MODELS`` has all.
        num_classes: K.
        arguments: ``embedding_channels`` (256), ``drop_path_rate``, ``dropout``, ``ignore_value``
            (255); ``temporal``, a name or a module of your own; ``output`` and all others of
            ``cffm_plugin.core.models.assemble_segmentor``.

    Raises:
        ValueError: there is no such model, or an argument does not fit.
    """
    model = create_segmentor(VideoSegmentor, name, num_classes, **arguments)
    given = {"name": name, "num_classes": num_classes, **arguments}
    model.recipe = recipe_of("create_model", given)
    return model


def wrap(
    net: nn.Module,
    classifier: str | Sequence[str] | None = None,
    num_classes: int | None = None,
    **arguments: Any,
) -> VideoSegmentor:
    """Any image segmentor as a video segmentor, which starts as that image segmentor.

    The layer that classifies is named, or found; what enters it is what the temporal module
    refines. The resize after it is found out by comparing, on images of several sizes.

    Args:
        net: images (N, 3, H, W), normalised, to logits; its weights are trained on.
        classifier: the name of the submodule whose result is the logits before they are resized,
            as in ``net.named_modules()``, such as "segmentation_head.0"; or several names, where
            the net adds up what they give.
        num_classes: K; by default the number of channels of the logits.
        arguments: ``size_divisibility``, what sides of images are padded to a multiple of;
            ``ignore_value`` (255); ``pixel_mean`` and ``pixel_std`` of values 0..255 (ImageNet's);
            ``image_format`` ("RGB"); ``temporal`` and all others of
            ``cffm_plugin.core.models.assemble_segmentor``.

    Raises:
        ValueError: the classifier was not found, or what follows it is no resize; the error says
            what to pass.
    """
    model = wrap_segmentor(VideoSegmentor, net, classifier, num_classes, **arguments)
    given = {"classifier": classifier, "num_classes": num_classes, **arguments}
    model.recipe = recipe_of("wrap", given)
    return model


def from_pretrained(
    source: str | PathLike, *, net: nn.Module | None = None, overrides: Sequence[str] = ()
) -> VideoSegmentor:
    """A model with its weights, in evaluation mode.

    Args:
        source: a folder of ``VideoSegmentor.save_pretrained``; or of ``cffm publish``, or
            "owner/repository" on the Hugging Face hub, which need detectron2.
        net: of models of ``wrap``: the image segmentor, whose weights are replaced.
        overrides: of a model that has a config, keys of it: ``["KEY", "VALUE", ...]``, such as
            MODEL.DEVICE, TEST.SMOOTHING, or MODEL.IMPORTS where it needs code of yours.

    Raises:
        FileNotFoundError: there is no such folder, or it lacks the weights.
        ValueError: what is there is no such model, or ``net`` is missing or does not fit.
    """
    folder = Path(source).expanduser()
    if not (folder / RECIPE).is_file():
        check_detectron2()
        from .hub.loading import load_model  # a model of a config

        return load_model(str(source), overrides)
    recipe = read_recipe(folder)
    if recipe["made_by"] == "create_model":
        model = create_model(**recipe["arguments"])
    elif net is None:
        raise ValueError(
            f"{folder} is a model of wrap(net): make the image segmentor as it was and pass it, "
            "from_pretrained(folder, net=net)"
        )
    else:
        model = wrap(net, **recipe["arguments"])
    load_weights(model, folder)
    return model.eval()
