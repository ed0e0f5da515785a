"""Hugging Face's SegFormer: ``nvidia/mit-b*``, ``nvidia/segformer-b*``, and fine-tuned ones.

Two spellings are read: that of the files on the hub, which ``save_pretrained`` writes whatever the
version, and that of the modules since transformers 5, which ``torch.save(model.state_dict(), ...)``
writes. Stages count from 0. The decoder is the authors', so that the whole segmentor converts.
"""

from .conversion import Format, register_format
from .rules import Drop, Merge, Rename, Rule, Target, numbered

MODEL = r"(?:segformer\.)?"
BLOCK = MODEL + r"(?:encoder\.block|stages)\.([0-3])\.(?:blocks\.)?(\d+)\."
TENSOR = r"\.(weight|bias)"


def _in_block(name: str) -> Target:
    return numbered(rf"backbone.block{{stage}}.\2.{name}.\3", +1)


HUGGING_FACE_RULES: tuple[Rule, ...] = (
    *(
        Rename(MODEL + theirs + TENSOR, numbered(ours, +1))
        for theirs, ours in [
            (r"encoder\.patch_embeddings\.([0-3])\.proj", r"backbone.patch_embed{stage}.proj.\2"),
            (r"stages\.([0-3])\.patch_embeddings\.proj", r"backbone.patch_embed{stage}.proj.\2"),
            (
                r"encoder\.patch_embeddings\.([0-3])\.layer_norm",
                r"backbone.patch_embed{stage}.norm.\2",
            ),
            (
                r"stages\.([0-3])\.patch_embeddings\.layer_norm",
                r"backbone.patch_embed{stage}.norm.\2",
            ),
            (r"encoder\.layer_norm\.([0-3])", r"backbone.norm{stage}.\2"),
            (r"stages\.([0-3])\.layer_norm", r"backbone.norm{stage}.\2"),
        ]
    ),
    *(
        Rename(BLOCK + theirs + TENSOR, _in_block(ours))
        for theirs, ours in [
            (r"(?:layer_norm_1|layernorm_before)", "norm1"),
            (r"(?:layer_norm_2|layernorm_after)", "norm2"),
            (r"attention\.(?:self\.query|q_proj)", "attn.q"),
            (r"attention\.(?:self|sequence_reduction)\.(?:sr|sequence_reduction)", "attn.sr"),
            (r"attention\.(?:self|sequence_reduction)\.layer_norm", "attn.norm"),
            (r"attention\.(?:output\.dense|o_proj)", "attn.proj"),
            (r"mlp\.(?:dense1|fc1)", "mlp.fc1"),
            (r"mlp\.dwconv\.dwconv", "mlp.dwconv.dwconv"),
            (r"mlp\.(?:dense2|fc2)", "mlp.fc2"),
        ]
    ),
    # The rows of our kv are [k; v].
    Merge(BLOCK + r"attention\.(?:self\.key|k_proj)" + TENSOR, _in_block("attn.kv"), 0, 2),
    Merge(BLOCK + r"attention\.(?:self\.value|v_proj)" + TENSOR, _in_block("attn.kv"), 1, 2),
    Rename(
        r"decode_head\.(?:linear_c|linear_projections)\.([0-3])\.proj" + TENSOR,
        numbered(r"sem_seg_head.projections.res{stage}.\2", +2),
    ),
    Rename(r"decode_head\.linear_fuse\.weight", "sem_seg_head.fuse.weight"),
    Rename(r"decode_head\.batch_norm\.(\w+)", r"sem_seg_head.fuse.norm.\1"),
    Rename(r"decode_head\.classifier" + TENSOR, r"sem_seg_head.predictor.\1"),
    Drop(r"classifier" + TENSOR, "the image classifier"),
)

register_format(
    Format(
        "Hugging Face SegFormer",
        MODEL + r"(encoder\.patch_embeddings\.0|stages\.0\.patch_embeddings)\.proj\.weight",
        HUGGING_FACE_RULES,
    )
)
