"""MMSegmentation's SegFormer, 1.x and late 0.x; whole segmentors and its ImageNet encoders.

Stages count from 0. Linear layers of the Mix-FFN are 1x1 convolutions there.
"""

from .rules import TENSOR, Format, Refuse, Rename, Split, in_block, numbered

STAGE = r"(?:backbone\.)?layers\.([0-3])\."
BLOCK = STAGE + r"1\.(\d+)\."

MMSEG = Format(
    "MMSegmentation 1.x SegFormer",
    r"(backbone\.)?layers\.0\.0\.projection\.weight",
    (
        *(
            Rename(STAGE + theirs + TENSOR, numbered(ours, +1))
            for theirs, ours in [
                (r"0\.projection", r"backbone.patch_embed{stage}.proj.\2"),
                (r"0\.norm", r"backbone.patch_embed{stage}.norm.\2"),
                (r"2", r"backbone.norm{stage}.\2"),
            ]
        ),
        *(
            Rename(BLOCK + theirs + TENSOR, in_block(ours))
            for theirs, ours in [
                (r"norm1", "norm1"),
                (r"norm2", "norm2"),
                (r"attn\.attn\.out_proj", "attn.proj"),
                (r"attn\.sr", "attn.sr"),
                (r"attn\.norm", "attn.norm"),
                (r"ffn\.layers\.1", "mlp.dwconv.dwconv"),
            ]
        ),
        # Rows [q; k; v]; the rows of our kv are [k; v].
        Split(
            BLOCK + r"attn\.attn\.in_proj_(weight|bias)",
            (in_block("attn.q"), in_block("attn.kv"), in_block("attn.kv")),
        ),
        *(
            Rename(
                BLOCK + theirs + TENSOR,
                in_block(ours),
                lambda kernel: kernel.flatten(1) if kernel.dim() == 4 else kernel,  # (O, I, 1, 1)
            )
            for theirs, ours in [(r"ffn\.layers\.0", "mlp.fc1"), (r"ffn\.layers\.4", "mlp.fc2")]
        ),
        Refuse(
            r"decode_head\.(convs\.[0-3]|fusion_conv|conv_seg)\..+",
            "MMSegmentation's head is another function than the SegFormer authors' head, which "
            "ours is: it has BatchNorm and ReLU after the projection of every stage",
        ),
    ),
)
