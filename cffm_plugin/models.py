"""Models by one call: by name, of any image segmentor, or of a folder."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import torch
from torch import nn

from .core.models import MODELS, assemble_segmentor, create_segmentor
from .families import net_recipe, open_net, rebuild, take_net_apart
from .libraries import check_detectron2
from .model_folders import check_source
from .saving import RECIPE, given_again, load_weights, read_recipe, recipe_of
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
    net: nn.Module | str | PathLike,
    classifier: str | Sequence[str] | None = None,
    num_classes: int | None = None,
    *,
    processor: Any = None,
    size_divisibility: int | None = None,
    image_size: int | None = None,
    ignore_value: int = 255,
    loss: Any = None,
    task_inputs: Sequence[int] | None = None,
    **arguments: Any,
) -> VideoSegmentor:
    """Any image segmentor as a video segmentor, which starts as that image segmentor.

    The layer that classifies is named, or found; what enters it is what the temporal module
    refines. The resize after it, a sigmoid or softmax after that, and what sides of images are to
    be padded to are found out by comparing, on images of several sizes. One logit is two classes.

    Args:
        net: images (N, 3, H, W), normalised, to logits; its weights are trained on. Or a folder of
            ``save_pretrained`` of transformers or segmentation_models_pytorch, or a model of
            transformers on the Hugging Face hub, by name.
        classifier: the name of the submodule whose result is the logits before they are resized,
            as in ``net.named_modules()``, such as "segmentation_head.0"; or several names, where
            the net adds up what they give.
        num_classes: K; by default the number of channels of the logits.
        processor: of a model of transformers, which says how images are normalised; of a folder
            its own.
        size_divisibility: what sides of images are padded to a multiple of, 0 for any.
        image_size: the side of the square that ``net`` takes, where it takes no other.
        ignore_value: label of pixels without a class.
        loss: a function of logits (N, K, H, W) and labels (N, H, W); where there is one logit it is
            (N, 1, H, W), and so are the labels. Of segmentation_models_pytorch's nets also a name,
            such as "DiceLoss". By default the cross entropy.
        task_inputs: of OneFormer, the tokens of its task, where there is no processor.
        arguments: ``pixel_mean`` and ``pixel_std`` of values 0..255 (by default what the net's
            library says, or ImageNet's); ``image_format`` ("RGB"); ``temporal`` and all others of
            ``cffm_plugin.core.models.assemble_segmentor``.

    Raises:
        FileNotFoundError: there is no such folder or model.
        ValueError: the net can't be taken apart; the error says why, or what to pass.
    """
    if not isinstance(net, nn.Module):
        net, own_processor = open_net(str(net))
        processor = processor or own_processor
    options: dict[str, Any] = {
        "classifier": classifier,
        "num_classes": num_classes,
        "size_divisibility": size_divisibility,
        "image_size": image_size,
        "ignore_value": ignore_value,
        "loss": loss,
    }
    if task_inputs is not None:
        options["task_inputs"] = task_inputs
    return _wrapped(net, processor, options, arguments)


def _wrapped(
    net: nn.Module, processor: Any, options: dict[str, Any], arguments: dict[str, Any]
) -> VideoSegmentor:
    """See ``wrap``; ``options`` are of ``take_net_apart``."""
    _check_dtype(net)
    made_of = net_recipe(net)
    parts, known = take_net_apart(net, processor=processor, **options)
    arguments = known | arguments
    model = assemble_segmentor(VideoSegmentor, *parts, **arguments)
    task = getattr(model.backbone.net, "task", None)  # of OneFormer
    if task is not None:
        options = options | {"task_inputs": [int(token) for token in task.flatten()]}
    model.recipe = recipe_of("wrap", options | arguments)
    if made_of is not None:
        model.recipe["net"] = made_of
    return model


def _check_dtype(net: nn.Module) -> None:
    """The temporal module that it gets is in float32, and what it does is compared in it."""
    dtypes = {p.dtype for p in net.parameters() if p.is_floating_point()}
    if dtypes and torch.float32 not in dtypes:  # some have a few weights of another type beside it
        raise ValueError(
            f"the net's weights are {', '.join(map(str, dtypes))}; wrap takes float32: "
            "wrap(net.float()). What came of it can be cast as a whole, model.double(); and "
            'model.stream_options = {"autocast": torch.bfloat16} streams in half precision'
        )


def from_pretrained(
    source: str | PathLike,
    *,
    net: nn.Module | None = None,
    temporal: nn.Module | None = None,
    loss: Any = None,
    overrides: Sequence[str] = (),
) -> VideoSegmentor:
    """A model with its weights, in evaluation mode.

    Args:
        source: a folder of ``VideoSegmentor.save_pretrained``; or of ``cffm publish``, or
            "owner/repository" on the Hugging Face hub, which need detectron2.
        net: of models of ``wrap``: the image segmentor, whose weights are replaced; not needed for
            nets of transformers and segmentation_models_pytorch.
        temporal: of models with a temporal module of your own: one as it was made then, whose
            weights are replaced.
        loss: of models that were wrapped with a function: it, to train the model on. Without it
            that is by the cross entropy, which a warning says.
        overrides: of a model that has a config, keys of it: ``["KEY", "VALUE", ...]``, such as
            MODEL.DEVICE, TEST.SMOOTHING, or MODEL.IMPORTS where it needs code of yours.

    Raises:
        FileNotFoundError: there is no such folder, or it lacks the weights.
        ValueError: what is there is no such model, or ``net`` or ``temporal`` is missing or
            does not fit.
    """
    folder = check_source(str(source))
    if folder is None or not (folder / RECIPE).is_file():
        check_detectron2()
        from .hub.loading import load_model  # a model of a config

        return load_model(str(source), overrides)
    recipe = read_recipe(folder)
    arguments = given_again(recipe, folder, {"temporal": temporal, "loss": loss})
    if recipe["made_by"] == "create_model":
        model = create_model(**arguments)
    elif net is None and "net" not in recipe:
        raise ValueError(
            f"{folder} is a model of wrap(net): make the image segmentor as it was and pass it, "
            "from_pretrained(folder, net=net)"
        )
    else:
        model = wrap(net or rebuild(recipe["net"]), **arguments)
    load_weights(model, folder)
    return model.eval()
