"""Both kinds of predictions give logits, probabilities and labels that say the same."""

import pytest
import torch

from cffm_plugin.core.encoded import EncodedFrames
from cffm_plugin.core.mask_prediction import MaskPrediction, kind_of
from cffm_plugin.core.prediction import LogitsPrediction, as_prediction

N, K, QUERIES, CELLS, STRIDE = 2, 3, 5, (4, 6), 4
IMAGE, PADDED, OUTPUT = (15, 22), (16, 24), (30, 40)


def dense():
    return LogitsPrediction(torch.randn(N, K, *CELLS))


def masks():
    return MaskPrediction(torch.randn(N, QUERIES, *CELLS), torch.randn(N, QUERIES, K + 1))


kinds = pytest.mark.parametrize("make", [dense, masks])


@pytest.fixture
def frames():
    embedding = torch.zeros(N, 8, *CELLS)
    return EncodedFrames(embedding, None, embedding, IMAGE, PADDED)


@kinds
def test_logits_probabilities_and_labels_of_a_frame_agree_at_the_size_of_its_output(make, frames):
    torch.manual_seed(0)
    prediction = make()
    of_frames = prediction.coarse(frames, STRIDE, [OUTPUT] * N)
    assert len(of_frames) == N
    for coarse in of_frames:
        probabilities = coarse.probabilities()
        assert probabilities.shape == coarse.logits().shape == (K, *OUTPUT)
        torch.testing.assert_close(probabilities.sum(dim=0), torch.ones(OUTPUT))
        torch.testing.assert_close(coarse.logits().softmax(dim=0), probabilities)
        torch.testing.assert_close(
            prediction.probabilities_of(coarse.full_resolution()), probabilities
        )
        labels = coarse.label_map()
        assert (labels.shape, labels.dtype) == (OUTPUT, torch.uint8)
        assert torch.equal(labels.long(), probabilities.argmax(dim=0))


@kinds
def test_the_scores_of_a_segmentor_of_maps_are_never_logits(make, frames):
    torch.manual_seed(0)
    prediction = make()
    coarse = prediction.coarse(frames, STRIDE, [OUTPUT] * N)[0]
    assert coarse.scores(is_map=True).min() >= 0
    given = coarse.scores(is_map=prediction.is_map)
    assert torch.equal(given, coarse.full_resolution())


@kinds
def test_logits_are_at_the_cells_of_the_prediction(make, frames):
    torch.manual_seed(0)
    prediction = make()
    assert prediction.logits().shape == (N, K, *CELLS)
    at_stride = prediction.coarse(frames, STRIDE, [OUTPUT] * N)[1].at_stride()
    torch.testing.assert_close(at_stride.values, prediction.logits()[1])


def test_what_is_resized_of_masks_is_nothing_and_of_logits_their_cells():
    assert dense().resized((8, 12)).logits().shape == (N, K, 8, 12)
    prediction = masks()
    assert prediction.resized((8, 12)) is prediction


@kinds
def test_what_a_head_gave_is_what_its_losses_take(make):
    prediction = make()
    again = as_prediction(prediction.given)
    assert type(again) is type(prediction) and again.given is prediction.given
    assert as_prediction(prediction) is prediction


def test_a_head_says_of_which_kind_its_predictions_are_and_logits_are_taken_for_granted():
    class Queries:
        gives_logits = False

    assert kind_of(Queries()) is MaskPrediction
    assert kind_of(object()) is LogitsPrediction
