"""CFFMSegmentor: the video segmentor as a meta-architecture of detectron2's."""

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from ..core.clip_inputs import frames_of, labels_of, video_text
from ..core.head_embedding import HeadEmbedding
from ..video_segmentor import VideoSegmentor
from .building import segmentor_arguments
from .heads import embedding_of


@META_ARCH_REGISTRY.register()
class CFFMSegmentor(VideoSegmentor):
    """``VideoSegmentor`` with detectron2's lists of dicts.

    The image segmentor's submodules have the names that detectron2's ``SemanticSegmentor`` gives
    them, so its weights load unchanged. Without a temporal module, and for clips of one frame, this
    class *is* ``SemanticSegmentor``.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: nn.Module,
        sem_seg_head: nn.Module,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        head: HeadEmbedding | None = None,
        **arguments: Any,
    ):
        """
        Args:
            backbone: follows detectron2's backbone interface.
            sem_seg_head: any semantic head.
            head: ``embedding_of(sem_seg_head, backbone)``, where it is known already.
            Others: as of ``VideoSegmentor``.
        """
        super().__init__(
            backbone=backbone,
            sem_seg_head=sem_seg_head,
            pixel_mean=pixel_mean,
            pixel_std=pixel_std,
            head=head or embedding_of(sem_seg_head, backbone, len(pixel_mean)),
            **arguments,
        )

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return segmentor_arguments(cfg)

    def forward(
        self, batched_inputs: list[dict[str, Any]] | Tensor, labels: Tensor | None = None
    ) -> Any:
        """
        Args:
            batched_inputs: one dict per clip with
                ``image``: a list of T tensors (3, H, W), oldest frame first, target last, values
                0..255, in the order of INPUT.FORMAT; or one such tensor, a clip of one frame;
                ``sem_seg``: training only: as many (H, W) int64 tensors, or None for references
                without labels, which add nothing to the image loss;
                ``height``, ``width``: the size of the output, by default that of the target;
                ``prototypes``: with a prototype branch, those of the clip's video, (P, C).
                Clips may differ in size, the frames of a clip may not.
                Or a tensor of clips, and then all is as in ``VideoSegmentor.forward``.
            labels: of such clips.

        Returns:
            in training, a dict of losses; otherwise a list of ``{"sem_seg": (K, height, width)}``:
            logits, or the semantic map of mask classification, see ``gives_logits``. A clip with
            fewer frames than a windowed module takes gets the image segmentor's for its target.
            No prediction depends on the other clips of the batch or on their sizes.

        Raises:
            ValueError: an empty clip, too many frames, or frames of different sizes; in training
                also a clip with too few frames or without labels of its target.
        """
        if isinstance(batched_inputs, Tensor):
            return super().forward(batched_inputs, labels)
        if not self.training:
            return [{"sem_seg": self.scores(item)} for item in batched_inputs]
        clips = [frames_of(item) for item in batched_inputs]
        length = self.clip_length
        for frames, item in zip(clips, batched_inputs):
            if self.temporal is not None and length not in (None, len(frames)):
                raise ValueError(
                    f"training takes clips of {length} frames, got {len(frames)}{video_text(item)}"
                )
        clip_labels = [labels_of(item, len(c)) for item, c in zip(batched_inputs, clips)]
        return self.losses(clips, clip_labels, batched_inputs)
