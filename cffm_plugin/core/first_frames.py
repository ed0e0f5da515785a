"""A half-precision copy's first frame of every size, beside the model that it was made of."""

import copy
import logging
from typing import Any

import torch
from torch import Tensor

from .clip_segmentor import ClipSegmentor
from .encoded import EncodedFrames
from .head_embedding import evaluating

MOST_SIZES = 8  # of frames that are compared, as many as torch.compile makes programs for
DEFAULT_AGREEMENT = 0.995
TIED = 0.1  # logits that differ by less: a class is nine tenths as likely as the likeliest

logger = logging.getLogger(__name__)


class FirstFrames:
    """Which of two models segments: a half-precision copy, for as long as it agrees.

    The first frame of each size is compared, since the kernels that compute it depend on the size:
    at most a frame's time in float32, and no more for further videos of that size. Folders of
    images of all sizes would be segmented twice, so that the first ``MOST_SIZES`` must do. A first
    frame has no past; it is compared as if it were its own, so that the temporal module is as well.

    Args:
        model: in float32, as the copy was made of. It is kept, and taken again where the copy does
            not agree; once its weights have changed, there is nothing to compare with.
        half: the copy.
        least: share of the labels that must be equal, 0 to 1; 0: nothing is compared.
        fall_back: whether ``model`` segments where fewer are, or that is an error.

    Raises:
        ValueError: ``least`` is no share.
    """

    def __init__(
        self, model: ClipSegmentor, half: ClipSegmentor, least: float, fall_back: bool = True
    ):
        if not 0 <= least <= 1:
            raise ValueError(
                f"TEST.AUTOCAST_AGREEMENT (least_agreement) is a share from 0 to 1, got {least}"
            )
        self.model, self.half = model, half
        self.least, self.fall_back = least, fall_back
        self._sizes: set[tuple[int, int]] = set()

    @torch.inference_mode()
    def replacement(
        self, image: Tensor, item: dict[str, Any], encoded: EncodedFrames | None = None
    ) -> ClipSegmentor | None:
        """A copy of the model in float32 where the half-precision one does not agree, else None.

        Args:
            image: a frame, (3, H, W).
            item: what else goes into its prediction: ``prototypes``.
            encoded: what the half-precision copy makes of the frame, if it is there.

        Raises:
            FloatingPointError: it does not agree, and is not to be replaced.
        """
        size = (image.shape[-2], image.shape[-1])
        if not self.least or size in self._sizes or len(self._sizes) >= MOST_SIZES:
            return None
        if not self._is_of_this_model():
            logger.warning(
                "The model's weights have changed since its half-precision copy was made: frames "
                "of %dx%d are not compared with float32",
                *size,
            )
            self._sizes.add(size)
            return None
        with evaluating(self.model):
            exact = _logits(self.model, self.model.encode([image]), item)
        given = _logits(self.half, encoded or self.half.encode([image]), item)
        share = min(map(share_of_equal_labels, given, exact))
        if share >= self.least:
            self._sizes.add(size)
            return None
        message = (
            f"The first frame of {size[0]}x{size[1]}: only {100 * share:.2f} % of the labels in "
            "half precision are those of float32, and TEST.AUTOCAST_AGREEMENT (least_agreement) "
            f"asks for {100 * self.least:g} %."
        )
        if not self.fall_back:
            raise FloatingPointError(
                f'{message} Set TEST.AUTOCAST "" for float32; cffm check --machine says whether '
                "this machine computes half precision wrongly."
            )
        logger.warning("%s All is computed in float32 from here on.", message)
        return copy.deepcopy(self.model).eval().requires_grad_(False)

    def _is_of_this_model(self) -> bool:
        weights = zip(self.model.parameters(), self.half.parameters(), strict=True)
        return all(torch.equal(ours.to(half.dtype), half) for ours, half in weights)


def _logits(model: ClipSegmentor, encoded: EncodedFrames, item: dict[str, Any]) -> list[Tensor]:
    """The image segmentor's of a frame, (K, h, w) at the head's stride; and the video segmentor's,
    the frame being its own past."""
    predictions = [model.classify(encoded)]
    needs_prototypes = model.prototype_branch is not None and "prototypes" not in item
    num_references = 1 if model.clip_length is None else model.clip_length - 1
    if num_references and not needs_prototypes:
        refined = model.refine_clip([encoded] * num_references, encoded)
        predictions.append(model.output(encoded, refined, [item]))
    coarse = [model.coarse(p, encoded, [encoded.image_size])[0] for p in predictions]
    return [prediction.at_stride().values for prediction in coarse]


def share_of_equal_labels(given: Tensor, expected: Tensor) -> float:
    """The share of cells whose label is the expected one.

    Where the expected logits of both labels are within ``TIED`` it does not matter which is taken:
    rounding decides there, and of a model before its training there is nothing else.

    Args:
        given, expected: logits, (K, h, w).
    """
    labels = given.argmax(dim=0, keepdim=True)
    lacking = expected.amax(dim=0) - expected.gather(0, labels)[0]
    return float((lacking <= TIED).float().mean())
