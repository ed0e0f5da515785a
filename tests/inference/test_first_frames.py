"""A half-precision stream's first frame of each size is compared with float32, once."""

import pytest
import torch
from test_casting_once import make_model, make_video
from torch import nn

from cffm_plugin.core.first_frames import TIED, share_of_equal_labels
from cffm_plugin.inference import LabelMapPredictor, StreamingSegmentor


class Norm(nn.LayerNorm):
    """Wrong in half precision, and no map: what only whole frames can tell."""

    def forward(self, x):
        return super().forward(x).flip(-1) if x.dtype == torch.bfloat16 else super().forward(x)


def wrong_model(name="backbone.block1.0.attn.norm"):
    model = make_model()
    model.get_submodule(name).__class__ = Norm
    return model


def counted(model):
    """How many frames the model encodes in float32 from now on, as a list that grows."""
    calls, own = [], model.backbone

    def count(module, args, output):
        if module is own:  # and not its copy's
            calls.append(len(args[0]))

    own.register_forward_hook(count)
    return calls


def stream_of(model, **options):
    return StreamingSegmentor(model, frame_offsets=(-3, -2, -1), autocast=torch.bfloat16, **options)


def test_labels_of_near_ties_count_as_equal_and_others_not():
    expected = torch.tensor([[3.0, 3.0, 3.0, 3.0], [0.0, 3.0 - TIED / 2, 3.0 - 2 * TIED, 1.0]])
    given = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]])  # labels 0, 1, 1, 0
    assert share_of_equal_labels(given[:, None], expected[:, None]) == 3 / 4


def test_a_stream_that_does_not_agree_goes_on_in_float32_and_says_so_once(caplog):
    model, video = wrong_model(), make_video()
    half, plain = stream_of(model), StreamingSegmentor(model, frame_offsets=(-3, -2, -1))
    for frame in video:
        assert torch.equal(half.step(frame), plain.step(frame))
    assert caplog.text.count("The first frame of 64x96: only") == 1
    assert caplog.text.count("All is computed in float32 from here on") == 1
    assert half.autocast is None


def test_the_temporal_module_is_compared_on_the_first_frame_as_well(caplog):
    model = make_model()
    model.temporal.module.blocks[0].mining.register_forward_pre_hook(
        lambda module, args: (5 * args[0].flip(-1), *args[1:]) if module.dtype else args
    )
    stream = stream_of(model)
    stream.step(make_video(1)[0])
    assert "only" in caplog.text
    assert stream.autocast is None


def test_without_a_fall_back_it_is_an_error_and_the_stream_is_as_before():
    stream, frame = stream_of(wrong_model(), fall_back=False), make_video(1)[0]
    for _ in range(2):
        with pytest.raises(FloatingPointError, match=r"64x96: only .* %.*TEST.AUTOCAST_AGREEMENT"):
            stream.step_all({"a": frame, "b": frame})
        assert not stream._streams


def test_a_share_of_zero_compares_nothing():
    model = wrong_model()
    stream = stream_of(model, least_agreement=0)
    calls = counted(model)
    stream.step(make_video(1)[0])
    assert stream.autocast is torch.bfloat16
    assert not calls


def test_each_size_is_compared_once_whatever_the_number_of_videos_and_frames():
    model = make_model()
    stream = stream_of(model)
    calls = counted(model)
    for key in ("first", "second"):
        for frame in make_video(3):
            stream.step_all({key: frame, f"beside {key}": frame})
    assert calls == [1]  # one frame of float32 in all
    stream.step(make_video(1, (32, 64))[0], stream="small")
    assert calls == [1, 1]
    assert stream.autocast is torch.bfloat16


def test_images_of_all_sizes_are_not_all_segmented_twice():
    model = make_model()
    stream = stream_of(model, least_agreement=0.5)  # of few cells, one weighs much
    calls = counted(model)
    for width in range(32, 32 + 8 * 12, 8):
        stream.step(make_video(1, (32, width))[0], stream=width)
    assert len(calls) == 8


def test_a_model_that_was_trained_on_is_not_what_its_copy_is_compared_with(caplog):
    model = make_model()
    stream = stream_of(model)
    with torch.no_grad():
        model.sem_seg_head.predictor.weight.normal_()
    stream.step(make_video(1)[0])
    assert "weights have changed" in caplog.text
    assert stream.autocast is torch.bfloat16


def test_the_model_that_it_is_compared_with_stays_in_training():
    model = make_model().train()
    stream_of(model).step(make_video(1)[0])
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("streaming", [True, False])
def test_evaluation_falls_back_too(streaming, caplog):
    model = wrong_model()
    options = {"frame_offsets": (-3, -2, -1), "streaming": streaming}
    half = LabelMapPredictor(model, autocast=torch.bfloat16, **options)
    plain = LabelMapPredictor(model, **options)
    *past, frame = make_video(4)
    image = frame if streaming else [*past, frame]
    item = {"image": image, "height": 64, "width": 96, "frame_index": 0}
    assert torch.equal(half([item])[0]["label_map"], plain([item])[0]["label_map"])
    assert "float32 from here on" in caplog.text


@pytest.mark.parametrize("share", [-0.1, 99.5])
def test_what_is_no_share_is_an_error_that_names_the_key(share):
    with pytest.raises(ValueError, match=rf"TEST.AUTOCAST_AGREEMENT.*0 to 1, got {share}"):
        stream_of(make_model(), least_agreement=share)
