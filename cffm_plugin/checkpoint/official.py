"""The authors' CFFM, CFFM++ and MRCFA checkpoints."""

from .rules import ENCODER, TENSOR, Drop, Format, Rename, Rule, Split, numbered

BLOCK = r"decode_head\.decoder_focal\.blocks\.(\d+)\."
OUR_BLOCK = r"temporal.module.blocks.\1."
GLOBAL_BLOCK = r"decode_head\.decoder_swin\.blocks\.0\."
OUR_GLOBAL_BLOCK = "prototype_branch.block."
UNUSED = "never used by the official model either"

# What CFFM shares with SegFormer, whose authors' code it is built on.
SEGFORMER_RULES: tuple[Rule, ...] = (
    Rename(rf"backbone\.{ENCODER}", r"backbone.\1.\2"),
    Rename(
        r"decode_head\.linear_c([1-4])\.proj\.(weight|bias)",
        numbered(r"sem_seg_head.projections.res{stage}.\2", +1),
    ),
    Rename(r"decode_head\.linear_fuse\.conv\.weight", "sem_seg_head.fuse.weight"),
    Rename(r"decode_head\.linear_fuse\.bn\.(\w+)", r"sem_seg_head.fuse.norm.\1"),
    Rename(r"decode_head\.linear_pred\.(weight|bias)", r"sem_seg_head.predictor.\1"),
    Drop(r"decode_head\.conv_seg\.(weight|bias)", UNUSED),
)

CFFM_RULES: tuple[Rule, ...] = (
    *SEGFORMER_RULES,
    Rename(r"decode_head\.linear_pred2\.(weight|bias)", r"temporal.output.classifier.\1"),
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
    Drop(
        r".*\.attn\.(relative_position_index\w*|valid_ind_rolled)",
        "an index table, derived from sizes",
    ),
)

PLUS_RULES: tuple[Rule, ...] = (
    *CFFM_RULES,
    Rename(r"decode_head\.linear_pred3\.(weight|bias)", r"prototype_branch.classifier.\1"),
    Rename(
        GLOBAL_BLOCK + r"(norm1|norm2|mlp\.fc1|mlp\.fc2)\.(weight|bias)",
        OUR_GLOBAL_BLOCK + r"\1.\2",
    ),
    Split(
        GLOBAL_BLOCK + r"attn\.qkv\.(weight|bias)",
        (OUR_GLOBAL_BLOCK + r"query.\1", None, None),
        "keys and values of the frame: " + UNUSED,
    ),
    Rename(GLOBAL_BLOCK + r"attn\.qkv_cluster\.(weight|bias)", OUR_GLOBAL_BLOCK + r"key_value.\1"),
    Rename(GLOBAL_BLOCK + r"attn\.proj_cluster\.(weight|bias)", OUR_GLOBAL_BLOCK + r"proj.\1"),
    Drop(GLOBAL_BLOCK + r"attn\.(relative_position_bias_table|proj\.weight|proj\.bias)", UNUSED),
)

# The levels of MRCFA, counted from the finest: queries and keys are named by stage from 1, the nets
# by the encoder's stage.
_AFFINITIES = r"decode_head\.hypercorre_module\."
_NETS = "temporal.module.nets."


def _unit(net: str, ours: str) -> tuple[Rule, ...]:
    """The convolutions and norms of a net's units, of three layers each."""
    return tuple(
        Rename(
            _AFFINITIES + rf"hpn\.encoder_layer{net}\.{3 * unit + layer}{inner}" + TENSOR,
            rf"{_NETS}{ours}.{unit}.{name}.\1",
        )
        for unit in (0, 1)
        for layer, inner, name in ((0, r"\.conv2", "conv"), (1, "", "norm"))
    )


MRCFA_RULES: tuple[Rule, ...] = (
    *SEGFORMER_RULES,
    Rename(r"decode_head\.deco4\.smalldecoder\.1" + TENSOR, r"temporal.output.classifier.\1"),
    Rename(
        r"decode_head\.deco([1-3])\.smalldecoder\.1" + TENSOR,
        numbered(r"temporal.output.auxiliary.{stage}.\2", -1),
    ),
    Rename(_AFFINITIES + r"q([1-3])" + TENSOR, numbered(r"temporal.module.queries.{stage}.\2", -1)),
    Rename(_AFFINITIES + r"k([1-3])" + TENSOR, numbered(r"temporal.module.keys.{stage}.\2", -1)),
    Rename(
        r"decode_head\.sr([23])" + TENSOR,
        numbered(r"temporal.module.key_reductions.{stage}.\2", -2),
    ),
    Rename(r"decode_head\.sr1_feat" + TENSOR, r"temporal.module.values.\1"),
    *_unit("2", "refine.0"),
    *_unit("3", "refine.1"),
    *_unit("4", "refine.2"),
    *_unit("4to3", "merge.0"),
    *_unit("3to2", "merge.1"),
)

_OF_PLUS = r"decode_head\.decoder_swin\..+"
OFFICIAL_CFFM = Format(
    "official CFFM", r"decode_head\.decoder_focal\..+", CFFM_RULES, unless=_OF_PLUS
)
OFFICIAL_CFFM_PLUS = Format("official CFFM++", _OF_PLUS, PLUS_RULES)
OFFICIAL_MRCFA = Format("official MRCFA", r"decode_head\.hypercorre_module\..+", MRCFA_RULES)
