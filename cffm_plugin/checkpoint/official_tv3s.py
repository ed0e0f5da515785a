"""The authors' TV3S checkpoints, on MiT and on Swin, and Swin's ImageNet encoders."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from .official import SEGFORMER_RULES
from .rules import SWIN_ENCODER, TENSOR, Drop, Format, Piece, Rename, Rule

_BLOCK = r"decode_head\.vs\.layers\.(\d+)\."
_OUR_BLOCK = r"temporal.module.blocks.\1."
_INDEX = Drop(r".*\.attn\.relative_position_index", "an index table, derived from sizes")

TV3S_RULES: tuple[Rule, ...] = (
    *SEGFORMER_RULES,
    _INDEX,
    Rename(rf"backbone\.{SWIN_ENCODER}", r"backbone.\1.\2"),
    Rename(r"decode_head\.linear_pred2" + TENSOR, r"temporal.output.classifier.\1"),
    Rename(_BLOCK + r"norm\.weight", _OUR_BLOCK + "norm.weight"),
    Rename(
        _BLOCK + r"mixer\.((?:in_proj|x_proj|out_proj)\.weight|(?:conv1d|dt_proj)\.\w+|A_log|D)",
        _OUR_BLOCK + r"mixer.\2",
    ),
    Rename(r"decode_head\.vs\.norm_f\.weight", "temporal.module.norm.weight"),
)
OFFICIAL_TV3S = Format("official TV3S", r"decode_head\.vs\..+", TV3S_RULES)


@dataclass(frozen=True)
class WithNewNorm(Rename):
    """A norm of the source's; and one behind a stage, which the source lacks, as it starts.

    Attributes:
        widening: the source's width over the new one's.
    """

    widening: int = 1

    def names(self, match: re.Match) -> tuple[str, ...]:
        return (*super().names(match), self._name_of_norm(match))

    def pieces(self, match: re.Match, tensor: Tensor) -> list[Piece]:
        size = (len(tensor) // self.widening,)
        new = (torch.ones if match[0].endswith("weight") else torch.zeros)(size)
        return [*super().pieces(match, tensor), Piece(self._name_of_norm(match), new)]

    def _name_of_norm(self, match: re.Match) -> str:
        stage = int(match[1]) + 1 if match.re.groups == 2 else 0
        return f"backbone.norm{stage}.{match[match.re.groups]}"


SWIN_IMAGENET = Format(
    "Swin ImageNet encoder",
    r"layers\.0\.blocks\.0\.attn\.relative_position_bias_table",
    (
        _INDEX,
        # Before a stage stands a norm of its width, or of twice it, where four patches are merged.
        WithNewNorm(r"patch_embed\.norm" + TENSOR, r"backbone.patch_embed.norm.\1"),
        WithNewNorm(
            r"layers\.(\d)\.downsample\.norm" + TENSOR,
            r"backbone.layers.\1.downsample.norm.\2",
            widening=2,
        ),
        Drop(r"layers\.\d\.blocks\.\d+\.attn_mask", "a mask, derived from sizes"),
        Rename(SWIN_ENCODER, r"backbone.\1.\2"),
        Drop(r"norm" + TENSOR, "the norm before ImageNet's classifier"),
        Drop(r"head" + TENSOR, "ImageNet's classifier"),
    ),
)
