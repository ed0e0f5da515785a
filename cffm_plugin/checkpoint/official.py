"""Official CFFM checkpoints and SegFormer's ImageNet encoder files, as this package names them.

Conversion is a table: every key of the source is renamed, or dropped for a reason that stands
here, or is an error.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

ENCODER = r"(patch_embed[1-4]|block[1-4]\.\d+|norm[1-4])\.(.+)"
BLOCK = r"decode_head\.decoder_focal\.blocks\.(\d+)\."
OUR_BLOCK = r"temporal.cffm.blocks.\1."


@dataclass(frozen=True)
class Rename:
    """A pattern of source keys, and what such a key and its tensor become."""

    pattern: str
    target: str | Callable[[re.Match], str]
    transform: Callable[[Tensor], Tensor] = lambda tensor: tensor


@dataclass(frozen=True)
class Drop:
    """A pattern of source keys that are knowingly left out."""

    pattern: str
    reason: str


@dataclass
class Conversion:
    """A converted checkpoint.

    Attributes:
        source: what the input was recognised as.
        weights: ours, name -> tensor.
        dropped: source keys left out -> the reason.
    """

    source: str
    weights: dict[str, Tensor] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


def _stage_projection(match: re.Match) -> str:
    return f"sem_seg_head.projections.res{int(match[1]) + 1}.{match[2]}"


_DERIVED = Drop(
    r".*\.attn\.(relative_position_index\w*|valid_ind_rolled)", "an index table, derived from sizes"
)

OFFICIAL_CFFM: tuple[Rename | Drop, ...] = (
    Rename(rf"backbone\.{ENCODER}", r"backbone.\1.\2"),
    Rename(r"decode_head\.linear_c([1-4])\.proj\.(weight|bias)", _stage_projection),
    Rename(r"decode_head\.linear_fuse\.conv\.weight", "sem_seg_head.fuse.weight"),
    Rename(r"decode_head\.linear_fuse\.bn\.(\w+)", r"sem_seg_head.fuse.norm.\1"),
    Rename(r"decode_head\.linear_pred\.(weight|bias)", r"sem_seg_head.predictor.\1"),
    Rename(r"decode_head\.linear_pred2\.(weight|bias)", r"temporal.classifier.\1"),
    Rename(BLOCK + r"(norm1|norm2|mlp\.fc1|mlp\.fc2)\.(weight|bias)", OUR_BLOCK + r"\2.\3"),
    Rename(BLOCK + r"pool_layers\.0\.(weight|bias)", OUR_BLOCK + r"assembling.target_pool.\2"),
    Rename(
        BLOCK + r"pool_layers_clips\.(\d+)\.(weight|bias)",
        OUR_BLOCK + r"assembling.reference_pools.\2.\3",
    ),
    Rename(BLOCK + r"attn\.(qkv|proj)\.(weight|bias)", OUR_BLOCK + r"mining.\2.\3"),
    Rename(
        BLOCK + r"attn\.relative_position_bias_table",
        OUR_BLOCK + "mining.window_bias",
        lambda table: table.t().contiguous(),  # (169, heads) -> (heads, 169)
    ),
    Rename(
        BLOCK + r"attn\.relative_position_bias_table_to_neighbors",
        OUR_BLOCK + "mining.surroundings_bias",
        lambda table: table.squeeze(0),  # (1, heads, 49, 132) -> (heads, 49, 132)
    ),
    Rename(
        BLOCK + r"attn\.relative_position_bias_table_to_windows\.0",
        OUR_BLOCK + "mining.target_bias",
    ),
    Rename(
        BLOCK + r"attn\.relative_position_bias_table_to_windows_clips\.(\d+)",
        OUR_BLOCK + r"mining.reference_biases.\2",
    ),
    _DERIVED,
    Drop(r"decode_head\.conv_seg\.(weight|bias)", "never used by the official model either"),
)

MIT_ENCODER: tuple[Rename | Drop, ...] = (
    Rename(ENCODER, r"backbone.\1.\2"),
    Drop(r"head\.(weight|bias)", "ImageNet's classifier"),
)

FORMATS: dict[str, tuple[str, tuple[Rename | Drop, ...]]] = {
    # name -> (a key that only this format has, its table)
    "official CFFM": (r"decode_head\.decoder_focal\..+", OFFICIAL_CFFM),
    "SegFormer ImageNet encoder (MiT)": (r"patch_embed1\.proj\.weight", MIT_ENCODER),
}


def recognise(keys: Mapping[str, Tensor]) -> str:
    """Name of the format that a state dict's keys are in.

    Raises:
        ValueError: none of those that can be converted.
    """
    for name, (signature, _) in FORMATS.items():
        if any(re.fullmatch(signature, key) for key in keys):
            return name
    some = ", ".join(list(keys)[:3])
    raise ValueError(
        f"can't tell what kind of checkpoint this is; its keys are like: {some}. "
        f"Known formats: {'; '.join(FORMATS)}."
    )


def find_rule(key: str, source: str) -> tuple[Rename | Drop, str] | None:
    """What the table of a format says of a key: the rule, and our name ("" if it is dropped)."""
    for rule in FORMATS[source][1]:
        match = re.fullmatch(rule.pattern, key)
        if match is None:
            continue
        if isinstance(rule, Drop):
            return rule, ""
        return rule, rule.target(match) if callable(rule.target) else match.expand(rule.target)
    return None


def convert(state_dict: Mapping[str, Tensor]) -> Conversion:
    """Rename a state dict of any known format.

    Raises:
        ValueError: the format is unknown, or a key fits none of its rules.
    """
    conversion = Conversion(recognise(state_dict))
    left_over = []
    for key, tensor in state_dict.items():
        found = find_rule(key, conversion.source)
        if found is None:
            left_over.append(key)
            continue
        rule, name = found
        if isinstance(rule, Drop):
            conversion.dropped[key] = rule.reason
        else:
            conversion.weights[name] = rule.transform(tensor)
    if left_over:
        raise ValueError(
            f"recognised as {conversion.source}, but {len(left_over)} of {len(state_dict)} keys "
            f"have no place in our model: {', '.join(left_over[:5])}. Nothing was converted."
        )
    return conversion
