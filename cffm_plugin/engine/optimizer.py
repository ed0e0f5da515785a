"""The optimiser of a config: AdamW or SGD over the backbone and everything else."""

import logging
import re
from collections.abc import Callable
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling.backbone.vit import get_vit_lr_decay_rate
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from torch import nn

from ..config import add_cffm_config
from ..modeling import TimmPyramid

LARGEST_ADAMW_RATE = 1e-2  # above it, training with AdamW is not known to go well

logger = logging.getLogger(__name__)


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW or SGD over two kinds of parameters (CFFM, section 4.1).

    Those of ``model.backbone`` have the base learning rate, or what ``SOLVER.LAYER_DECAY`` leaves
    of it in a plain ViT; its normalisation layers have their own weight decay, and its position
    embeddings none. All others, the pyramid on a plain ViT too, have ``SOLVER.HEAD_LR_MULTIPLIER``
    times the learning rate. Where a config has Mask2Former's ``SOLVER.BACKBONE_MULTIPLIER``, it is
    the backbone's rate over that of the others instead, which is then the base rate. Other keys
    that a project adds to ``SOLVER`` are not used, and the log names them. Parameters without
    gradient are left out.

    Raises:
        ValueError: an unknown ``SOLVER.OPTIMIZER``, or none where a config sets ``BASE_LR``; or a
            ``SOLVER.LAYER_DECAY`` where no blocks of a plain ViT train.
    """
    solver = cfg.SOLVER
    name = _chosen_optimizer(cfg)
    backbone_rate, others_rate = _learning_rates(cfg)
    if name == "adamw" and others_rate > LARGEST_ADAMW_RATE:
        logger.warning(
            "The learning rate of all but the backbone is %g (SOLVER.BASE_LR %g times "
            "SOLVER.HEAD_LR_MULTIPLIER), which is far too high for AdamW on most models: CFFM's "
            "recipe has 0.0006. Is SOLVER.BASE_LR that of an SGD recipe?",
            others_rate,
            solver.BASE_LR,
        )
    common = {
        "weight_decay": solver.WEIGHT_DECAY,
        "bias_lr_factor": solver.BIAS_LR_FACTOR,
        "weight_decay_bias": solver.WEIGHT_DECAY_BIAS,
    }
    encoder, others = _encoder_and_others(model)
    groups = get_default_optimizer_params(
        encoder,
        base_lr=backbone_rate,
        weight_decay_norm=solver.BACKBONE_WEIGHT_DECAY_NORM,
        lr_factor_func=_factor_of_layers(solver.LAYER_DECAY, model.backbone),
        overrides={"pos_embed": {"weight_decay": 0.0}},
        **common,
    )
    groups += get_default_optimizer_params(others, base_lr=others_rate, **common)
    if name == "adamw":
        arguments: dict[str, Any] = {"betas": tuple(solver.BETAS)}
        kind: Any = torch.optim.AdamW
    else:
        arguments = {"momentum": solver.MOMENTUM, "nesterov": solver.NESTEROV}
        kind = torch.optim.SGD
    arguments["fused"] = solver.FUSED or None  # None: torch's own choice
    if solver.CLIP_GRADIENTS.ENABLED and solver.CLIP_GRADIENTS.CLIP_TYPE == "full_model":
        return _clip_whole_gradient(kind(groups, lr=solver.BASE_LR, **arguments), cfg)
    return maybe_add_gradient_clipping(cfg, kind)(groups, lr=solver.BASE_LR, **arguments)


def _encoder_and_others(model: Any) -> tuple[nn.Module, nn.ModuleDict]:
    """What was pretrained, and the parts that start anew: a plain ViT's pyramid is of these."""
    others = {name: child for name, child in model.named_children() if name != "backbone"}
    if not isinstance(model.backbone, TimmPyramid):
        return model.backbone, nn.ModuleDict(others)
    others |= {n: child for n, child in model.backbone.named_children() if n != "net"}
    return model.backbone.net, nn.ModuleDict(others)


def _clip_whole_gradient(optimizer: torch.optim.Optimizer, cfg: CfgNode) -> torch.optim.Optimizer:
    """Mask2Former's kind of clipping: the norm of all gradients together is bounded."""
    node = cfg.SOLVER.CLIP_GRADIENTS

    def clip(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, node.CLIP_VALUE, node.NORM_TYPE)

    optimizer.register_step_pre_hook(clip)
    return optimizer


def _chosen_optimizer(cfg: CfgNode) -> str:
    """ "adamw" or "sgd"."""
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
    if name.lower() not in ("adamw", "sgd"):
        raise ValueError(f"SOLVER.OPTIMIZER: expected AdamW or SGD, got {name!r}")
    return name.lower()


def _factor_of_layers(decay: float, backbone: Any) -> Callable[[str], float] | None:
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


def _learning_rates(cfg: CfgNode) -> tuple[float, float]:
    """Of the backbone, and of everything else."""
    solver = cfg.SOLVER
    known = get_cfg()
    add_cffm_config(known)
    foreign = sorted(key for key in solver if key not in known.SOLVER)
    rates = solver.BASE_LR, solver.BASE_LR * solver.HEAD_LR_MULTIPLIER
    if "BACKBONE_MULTIPLIER" in foreign:
        foreign.remove("BACKBONE_MULTIPLIER")
        rates = solver.BASE_LR * solver.BACKBONE_MULTIPLIER, solver.BASE_LR
        logger.info(
            "Learning rates: %g of the backbone, %g of all else (SOLVER.BACKBONE_MULTIPLIER, in "
            "place of SOLVER.HEAD_LR_MULTIPLIER)",
            *rates,
        )
    if foreign:
        logger.warning("Not used: %s", ", ".join(f"SOLVER.{key}" for key in foreign))
    return rates
