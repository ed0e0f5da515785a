"""The optimiser of a config: AdamW, Adam or SGD over the backbone and everything else."""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling.backbone.vit import get_vit_lr_decay_rate
from detectron2.solver.build import (
    get_default_optimizer_params,
    maybe_add_gradient_clipping,
    reduce_param_groups,
)
from torch import nn

from ..config import add_cffm_config
from ..modeling import TimmPyramid

LARGEST_ADAMW_RATE = 5e-3  # above it, training with AdamW is not known to go well
# Tables of positions, by the names that Swin's have in Detectron2's projects.
_POSITIONS = ("relative_position_bias_table", "absolute_pos_embed")
# Keys of Mask2Former's and its descendants' recipe, beside detectron2's.
_BACKBONE_RATE, _EMBEDDINGS_DECAY = "BACKBONE_MULTIPLIER", "WEIGHT_DECAY_EMBED"

Groups = list[dict[str, Any]]

logger = logging.getLogger(__name__)


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW, Adam or SGD over two kinds of parameters (CFFM, section 4.1).

    Those of ``model.backbone`` have the base learning rate, or what ``SOLVER.LAYER_DECAY`` leaves
    of it in a plain ViT; its normalisation layers have their own weight decay, and its position
    embeddings none. All others, the pyramid on a plain ViT too, have ``SOLVER.HEAD_LR_MULTIPLIER``
    times the learning rate. Parameters without gradient are left out.

    Keys of Mask2Former and its descendants mean what they mean there: ``BACKBONE_MULTIPLIER`` is
    the backbone's rate over that of the others, which is the base rate; and where there is a
    ``WEIGHT_DECAY_EMBED``, embeddings have that weight decay, tables of positions none, and all
    normalisation layers ``WEIGHT_DECAY_NORM``. The log says which rates and weight decays hold,
    and names the keys of ``SOLVER`` that are set and not used.

    Raises:
        ValueError: an unknown ``SOLVER.OPTIMIZER``, or none where a config sets ``BASE_LR``; or a
            ``SOLVER.LAYER_DECAY`` where no blocks of a plain ViT train, or beside a
            ``SOLVER.BIAS_LR_FACTOR``.
    """
    solver = cfg.SOLVER
    name = _name_from_config(cfg)
    _warn_of_unused_keys(solver, name)
    groups = _build_groups(cfg, model, _rates_from_config(cfg, name))
    if name == "sgd":
        arguments: dict[str, Any] = {"momentum": solver.MOMENTUM, "nesterov": solver.NESTEROV}
        kind: Any = torch.optim.SGD
    else:
        arguments = {"betas": tuple(solver.BETAS)}
        kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    arguments["fused"] = solver.FUSED or None  # None: torch's own choice
    clip = solver.CLIP_GRADIENTS
    if clip.ENABLED and clip.CLIP_TYPE == "full_model":
        optimizer = kind(groups, lr=solver.BASE_LR, **arguments)
        return _clip_whole_gradient(optimizer, clip.CLIP_VALUE, clip.NORM_TYPE)
    return maybe_add_gradient_clipping(cfg, kind)(groups, lr=solver.BASE_LR, **arguments)


def _build_groups(cfg: CfgNode, model: Any, rates: tuple[float, float]) -> Groups:
    """With their learning rates, those of the backbone and of all else, and weight decays."""
    solver, norm_decays = cfg.SOLVER, _norm_decays_from_config(cfg)
    common = {
        "weight_decay": solver.WEIGHT_DECAY,
        "bias_lr_factor": solver.BIAS_LR_FACTOR,
        "weight_decay_bias": solver.WEIGHT_DECAY_BIAS,
    }
    encoder, others = _encoder_and_others(model)
    groups = get_default_optimizer_params(
        encoder,
        base_lr=rates[0],
        weight_decay_norm=norm_decays[0],
        lr_factor_func=_factor_of_layers(solver.LAYER_DECAY, solver.BIAS_LR_FACTOR, model.backbone),
        overrides={"pos_embed": {"weight_decay": 0.0}},
        **common,
    )
    groups += get_default_optimizer_params(
        others, base_lr=rates[1], weight_decay_norm=norm_decays[1], **common
    )
    if _EMBEDDINGS_DECAY not in solver:
        return groups
    return _with_decay(groups, _decay_of_embeddings(model, solver[_EMBEDDINGS_DECAY]))


def _decay_of_embeddings(model: nn.Module, decay: float) -> dict[nn.Parameter, float]:
    """Weight decay of embeddings, and of tables of positions, as in Mask2Former's recipe."""
    found = {
        parameter: decay
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    return found | {p: 0.0 for name, p in model.named_parameters() if name.endswith(_POSITIONS)}


def _with_decay(groups: Groups, decay: dict[nn.Parameter, float]) -> Groups:
    """The groups, with other weight decays of some parameters."""
    one_by_one = [
        group | {"params": [p], "weight_decay": decay.get(p, group["weight_decay"])}
        for group in groups
        for p in group["params"]
    ]
    return reduce_param_groups(one_by_one)


def _norm_decays_from_config(cfg: CfgNode) -> tuple[float, float | None]:
    """Of normalisation layers in the backbone, and of all others; None: as of other weights."""
    solver = cfg.SOLVER
    if _EMBEDDINGS_DECAY in solver:
        logger.info(
            "Weight decay: %g; %g of normalisation layers (SOLVER.WEIGHT_DECAY_NORM), %g of "
            "embeddings (SOLVER.WEIGHT_DECAY_EMBED), none of tables of positions",
            solver.WEIGHT_DECAY,
            solver.WEIGHT_DECAY_NORM,
            solver[_EMBEDDINGS_DECAY],
        )
        return solver.WEIGHT_DECAY_NORM, solver.WEIGHT_DECAY_NORM
    logger.info(
        "Weight decay: %g, of normalisation layers outside the backbone too; %g of those of the "
        "backbone (SOLVER.BACKBONE_WEIGHT_DECAY_NORM in place of SOLVER.WEIGHT_DECAY_NORM)",
        solver.WEIGHT_DECAY,
        solver.BACKBONE_WEIGHT_DECAY_NORM,
    )
    return solver.BACKBONE_WEIGHT_DECAY_NORM, None


def _encoder_and_others(model: Any) -> tuple[nn.Module, nn.ModuleDict]:
    """What was pretrained, and the parts that start anew: a plain ViT's pyramid is of these."""
    others = {name: child for name, child in model.named_children() if name != "backbone"}
    if not isinstance(model.backbone, TimmPyramid):
        return model.backbone, nn.ModuleDict(others)
    others |= {n: child for n, child in model.backbone.named_children() if n != "net"}
    return model.backbone.net, nn.ModuleDict(others)


def _clip_whole_gradient(
    optimizer: torch.optim.Optimizer, bound: float, norm_type: float
) -> torch.optim.Optimizer:
    """Mask2Former's kind of clipping: the norm of all gradients together is bounded.

    There a bound of 0 means none.
    """
    if bound <= 0:
        logger.warning("SOLVER.CLIP_GRADIENTS.CLIP_VALUE %g: nothing is clipped", bound)
        return optimizer

    def clip(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, bound, norm_type)

    optimizer.register_step_pre_hook(clip)
    return optimizer


def _name_from_config(cfg: CfgNode) -> str:
    """ "adamw", "adam" or "sgd"."""
    name, rate = cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR
    if not name:
        if rate == get_cfg().SOLVER.BASE_LR:
            return "adamw"
        raise ValueError(
            f"The config sets SOLVER.BASE_LR to {rate:g}, but not SOLVER.OPTIMIZER, and a rate "
            "means something else to each optimiser. Say one of these:\n"
            '  SOLVER: {OPTIMIZER: "SGD", HEAD_LR_MULTIPLIER: 1.0}    '
            "# the rate is that of a recipe of Detectron2's\n"
            '  SOLVER: {OPTIMIZER: "AdamW", BASE_LR: 0.00006}         # CFFM\'s recipe'
        )
    if name.lower() not in ("adamw", "adam", "sgd"):
        raise ValueError(f"SOLVER.OPTIMIZER: expected AdamW, Adam or SGD, got {name!r}")
    return name.lower()


def _factor_of_layers(
    decay: float, bias_lr_factor: float | None, backbone: Any
) -> Callable[[str], float] | None:
    """Name of one of the backbone's parameters -> factor of its learning rate; None: 1 for all."""
    if decay == 1:
        return None
    if not 0 < decay < 1:
        raise ValueError(f"SOLVER.LAYER_DECAY: expected more than 0 and at most 1, got {decay:g}")
    trained = [name for name, value in backbone.named_parameters() if value.requires_grad]
    blocks = {int(m[1]) for m in (re.search(r"\.blocks\.(\d+)\.", name) for name in trained) if m}
    if not isinstance(backbone, TimmPyramid) or not blocks:
        raise ValueError(
            f"SOLVER.LAYER_DECAY {decay:g} is for plain ViTs that train, but the backbone, "
            f"{type(backbone).__name__}, is none or is frozen. Set it to 1.0."
        )
    if bias_lr_factor not in (None, 1):  # detectron2 would give all biases one rate
        raise ValueError("SOLVER.BIAS_LR_FACTOR can't go with SOLVER.LAYER_DECAY: set it to 1.0")
    depth = max(blocks) + 1
    logger.info(
        "SOLVER.LAYER_DECAY %g: learning rates of the backbone's %d blocks times %g to %g, of its "
        "patch and position embeddings times %g",
        decay,
        depth,
        decay**depth,
        decay,
        decay ** (depth + 1),
    )

    def factor(name: str) -> float:
        return get_vit_lr_decay_rate(f"backbone.{name}", decay, depth)

    return factor


def _rates_from_config(cfg: CfgNode, optimizer: str) -> tuple[float, float]:
    """Of the backbone, and of everything else."""
    solver = cfg.SOLVER
    rates, key = (solver.BASE_LR, solver.BASE_LR * solver.HEAD_LR_MULTIPLIER), "HEAD_LR_MULTIPLIER"
    if _BACKBONE_RATE in solver:
        rates = solver.BASE_LR * solver[_BACKBONE_RATE], solver.BASE_LR
        key = f"{_BACKBONE_RATE}, in place of SOLVER.HEAD_LR_MULTIPLIER"
    logger.info("Learning rates: %g of the backbone, %g of all else (SOLVER.%s)", *rates, key)
    if optimizer != "sgd" and rates[1] > LARGEST_ADAMW_RATE:
        logger.warning(
            "The learning rate of all but the backbone is %g (SOLVER.BASE_LR %g times "
            "SOLVER.HEAD_LR_MULTIPLIER), which is far too high for AdamW on most models: CFFM's "
            "recipe has 0.0006. Is SOLVER.BASE_LR that of an SGD recipe, or of one with one rate "
            "for all (SOLVER.HEAD_LR_MULTIPLIER 1.0)?",
            rates[1],
            solver.BASE_LR,
        )
    return rates


def _warn_of_unused_keys(solver: Mapping[str, Any], optimizer: str) -> None:
    """Name what SOLVER sets and this optimiser does not use, and other projects' keys in it."""
    known = get_cfg()
    add_cffm_config(known)
    unused = ["BETAS"] if optimizer == "sgd" else ["MOMENTUM", "NESTEROV"]
    if _EMBEDDINGS_DECAY not in solver:
        unused.append("WEIGHT_DECAY_NORM")
    elif solver["BACKBONE_WEIGHT_DECAY_NORM"] != solver["WEIGHT_DECAY_NORM"]:
        unused.append("BACKBONE_WEIGHT_DECAY_NORM")
    named = [key for key in unused if solver[key] != known.SOLVER[key]]
    foreign = set(solver) - set(known.SOLVER) - {_BACKBONE_RATE, _EMBEDDINGS_DECAY}
    if named or foreign:
        keys = [f"SOLVER.{key}" for key in [*named, *sorted(foreign)]]
        logger.warning("Not used: %s", ", ".join(keys))
