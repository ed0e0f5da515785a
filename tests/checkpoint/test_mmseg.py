"""MMSegmentation's SegFormer. The inverse mapping is written here, independently of the table."""

import pytest
import torch
from torch import nn

from cffm_plugin.checkpoint import convert, sizes_of, verify_complete
from cffm_plugin.core.mit import EfficientSelfAttention

IN_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.proj": "attn.attn.out_proj",
    "attn.sr": "attn.sr",
    "attn.norm": "attn.norm",
    "mlp.fc1": "ffn.layers.0",
    "mlp.dwconv.dwconv": "ffn.layers.1",
    "mlp.fc2": "ffn.layers.4",
}


def to_mmseg(weights, prefix="backbone."):
    """Encoder weights in our names -> MMSegmentation's."""
    theirs = {}
    for name, tensor in weights.items():
        part, module = name.removeprefix("backbone.").split(".", 1)
        stage, kind = int(part[-1]) - 1, module.rsplit(".", 1)[-1]
        start = f"{prefix}layers.{stage}."
        if part.startswith("patch_embed"):
            theirs[start + "0." + module.replace("proj", "projection")] = tensor
        elif part.startswith("norm"):
            theirs[start + "2." + module] = tensor
        else:
            block, layer = module.split(".", 1)
            layer = layer.rsplit(".", 1)[0]
            start += f"1.{block}."
            if layer == "attn.kv":
                continue
            if layer == "attn.q":
                key_value = weights[name.replace("attn.q.", "attn.kv.")]
                theirs[f"{start}attn.attn.in_proj_{kind}"] = torch.cat([tensor, key_value])
                continue
            if layer in ("mlp.fc1", "mlp.fc2") and kind == "weight":
                tensor = tensor[:, :, None, None]  # a 1x1 convolution
            theirs[f"{start}{IN_BLOCK[layer]}.{kind}"] = tensor
    return theirs


@pytest.fixture(scope="module")
def encoder(segmentor_weights):
    return {n: t for n, t in segmentor_weights().items() if n.startswith("backbone.")}


@pytest.fixture(scope="module")
def segmentor(encoder):
    """A whole B0 segmentor of MMSegmentation with 19 classes."""
    head = {"decode_head.conv_seg.weight": (19, 256, 1, 1), "decode_head.conv_seg.bias": (19,)}
    convs = {f"convs.{stage}": dim for stage, dim in enumerate((32, 64, 160, 256))}
    for name, dim in (convs | {"fusion_conv": 1024}).items():
        head[f"decode_head.{name}.conv.weight"] = (256, dim, 1, 1)
        for statistic in ("weight", "bias", "running_mean", "running_var"):
            head[f"decode_head.{name}.bn.{statistic}"] = (256,)
    return to_mmseg(encoder) | {name: torch.zeros(shape) for name, shape in head.items()}


@pytest.mark.parametrize("prefix", ["backbone.", ""], ids=["of a segmentor", "ImageNet"])
def test_an_encoder_comes_back_bit_by_bit(encoder, prefix):
    conversion = convert(to_mmseg(encoder, prefix))
    assert conversion.source == "MMSegmentation 1.x SegFormer" and not conversion.dropped
    assert conversion.weights.keys() == encoder.keys()
    for name, tensor in encoder.items():
        assert torch.equal(conversion.weights[name], tensor), name
    verify_complete(conversion.weights)


def test_a_whole_segmentor_is_an_error_that_says_why_and_what_to_do(segmentor):
    with pytest.raises(ValueError, match=r"BatchNorm and ReLU after the proj.*--encoder-only"):
        convert(segmentor)


def test_the_encoder_of_a_segmentor_converts_and_names_the_head_as_left_out(segmentor, encoder):
    conversion = convert(segmentor, encoder_only=True)
    assert conversion.weights.keys() == encoder.keys()
    assert all(name.startswith("decode_head.") for name in conversion.dropped)
    assert len(conversion.used) + len(conversion.dropped) == len(segmentor)
    assert sizes_of(conversion.weights).embedding_channels is None


def test_the_attention_is_that_of_torch(segmentor):
    """MMSegmentation's attention is torch's MultiheadAttention; the converted one agrees."""
    theirs = nn.MultiheadAttention(256, num_heads=8, batch_first=True).eval()
    start = "backbone.layers.3.1.1.attn.attn."
    theirs.load_state_dict(
        {n.removeprefix(start): t for n, t in segmentor.items() if n.startswith(start)}
    )
    weights = convert(segmentor, encoder_only=True).weights
    ours = EfficientSelfAttention(256, num_heads=8, sr_ratio=1).eval()
    start = "backbone.block4.1.attn."
    ours.load_state_dict(
        {n.removeprefix(start): t for n, t in weights.items() if n.startswith(start)}
    )
    tokens = torch.randn(2, 12, 256, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, _ = theirs(tokens, tokens, tokens)
        torch.testing.assert_close(ours(tokens, (3, 4)), expected, rtol=0, atol=1e-5)
