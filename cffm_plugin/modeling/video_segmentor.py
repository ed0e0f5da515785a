"""CFFMSegmentor: an image segmentor that looks at a few earlier frames."""

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, SemanticSegmentor
from detectron2.structures import ImageList
from torch import Tensor, nn

from .building import segmentor_arguments
from .clip_inputs import frames_of, of_one_size, prototypes_of
from .clip_losses import clip_losses, frame_losses
from .encoded import EncodedFrames, size_of
from .heads import HeadEmbedding, MaskClassificationEmbedding, embedding_of
from .label_maps import CoarseLogits, resize
from .mask_prediction import CoarseOutput, MaskPrediction, coarse_outputs
from .temporal import PrototypeBranch, TemporalHead


@META_ARCH_REGISTRY.register()
class CFFMSegmentor(SemanticSegmentor):
    """Wraps an image segmentor (a backbone and a semantic head) to take clips.

    The image segmentor's submodules have the names that detectron2's ``SemanticSegmentor`` gives
    them, so its weights load unchanged; ``temporal`` is what this class adds. Without it, and for
    clips of one frame, this class *is* ``SemanticSegmentor``.

    The forward pass is made of stages, which training, evaluation, streams, export and benchmarks
    call alike: ``encode``; ``classify`` for the image segmentor's logits; or ``assemble`` the
    references, ``mine`` them for the target, and ``output`` the video logits; then ``coarse``.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: nn.Module,
        sem_seg_head: nn.Module,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        temporal: TemporalHead | None = None,
        image_loss_weight: float = 0.5,
        video_loss_weight: float = 1.0,
        prototype_branch: PrototypeBranch | None = None,
        prototype_logit_weight: float = 0.5,
        freeze_image_segmentor: bool = False,
        activation_checkpointing: bool = False,
        head: HeadEmbedding | None = None,
    ):
        """
        Args:
            backbone: follows detectron2's backbone interface.
            sem_seg_head: any semantic head.
            pixel_mean, pixel_std: per channel, in the units of the input (0..255).
            temporal: None for the plain image segmentor.
            image_loss_weight: of the head's losses on all labelled frames' image logits.
            video_loss_weight: of those on the target's video logits; by default both the paper's.
            prototype_branch: CFFM++'s. Training then trains it alone: everything else is without
                gradient and in evaluation mode.
            prototype_logit_weight: of the branch's logits, which are added to the video logits.
            freeze_image_segmentor: training trains ``temporal`` alone: backbone and head are
                without gradient and in evaluation mode.
            activation_checkpointing: training keeps few activations and computes the others again:
                less memory, a fourth more time, the same gradients. For CFFM, and for backbones
                with a method ``set_activation_checkpointing`` (MiT and timm's).
            head: ``embedding_of(sem_seg_head, backbone)``, where it is known already.
        """
        if freeze_image_segmentor and temporal is None:
            raise ValueError("with the image segmentor frozen and no temporal module, none trains")
        if prototype_branch is not None and temporal is None:
            raise ValueError("a prototype branch (CFFM++) is built on a temporal module (CFFM)")
        super().__init__(
            backbone=backbone, sem_seg_head=sem_seg_head, pixel_mean=pixel_mean, pixel_std=pixel_std
        )
        self.temporal = temporal
        self.image_loss_weight = image_loss_weight
        self.video_loss_weight = video_loss_weight
        self.prototype_branch = prototype_branch
        self.prototype_logit_weight = prototype_logit_weight
        self.head = head or embedding_of(sem_seg_head, backbone, len(pixel_mean))
        if isinstance(self.head, MaskClassificationEmbedding) and self.head.criterion is not None:
            self.criterion = self.head.criterion.module  # for its buffers; MaskFormer's name
        if prototype_branch is not None and not self.gives_logits:
            raise ValueError("CFFM++'s logits can't be added to the masks of mask classification")
        self._frozen_parts: list[str] = []
        if freeze_image_segmentor or prototype_branch is not None:
            self._frozen_parts += ["backbone", "sem_seg_head"]
        if prototype_branch is not None:
            self._frozen_parts.append("temporal")
        for name in self._frozen_parts:
            getattr(self, name).requires_grad_(False)
        if activation_checkpointing:
            self._checkpoint_activations()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return segmentor_arguments(cfg)

    @property
    def image_segmentor_is_frozen(self) -> bool:
        return "sem_seg_head" in self._frozen_parts

    @property
    def gives_logits(self) -> bool:
        """Whether outputs are logits; if not, they are scores of classes, from 0."""
        return self.head.gives_logits

    @property
    def num_references(self) -> int:
        """Frames that it looks at besides the target."""
        return 0 if self.temporal is None else self.temporal.module.num_references

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """
        Args:
            batched_inputs: one dict per clip with
                ``image``: a list of T tensors (3, H, W), oldest frame first, target last, values
                0..255; or one such tensor, a clip of one frame;
                ``sem_seg``: training only: as many (H, W) int64 tensors, or None for references
                without labels, which add nothing to the image loss;
                ``height``, ``width``: the size of the output, by default that of the target;
                ``prototypes``: with a prototype branch, those of the clip's video, (P, C).
                Clips may differ in size, the frames of a clip may not.

        Returns:
            in training, a dict of losses; otherwise a list of ``{"sem_seg": (K, height, width)}``:
            logits, or the semantic map of mask classification, see ``gives_logits``. A clip with
            fewer frames than the temporal module takes gets the image segmentor's for its target.
            No prediction depends on the other clips of the batch or on their sizes.

        Raises:
            ValueError: an empty clip, too many frames, or frames of different sizes; in training
                also a clip with too few frames or without labels of its target.
        """
        clips = [frames_of(item) for item in batched_inputs]
        if self.training:
            if self.temporal is not None:
                return clip_losses(self, batched_inputs, clips)
            return frame_losses(self, batched_inputs, clips)

        takes_clip = [self._takes_clip(frames) for frames in clips]
        as_image = [i for i, takes in enumerate(takes_clip) if not takes and self.head.is_plain]
        results: dict[int, dict[str, Tensor]] = {}
        for group in of_one_size(clips, as_image):  # padding to others' size would change results
            targets = [batched_inputs[i] | {"image": clips[i][-1]} for i in group]
            for target in targets:
                target.pop("sem_seg", None)
            results.update(zip(group, super().forward(targets)))
        for i, item in enumerate(batched_inputs):
            if i not in results:
                results[i] = {"sem_seg": self._scores(self.coarse_output(item))}
        return [results[i] for i in range(len(clips))]

    def coarse_output(self, item: dict[str, Any]) -> CoarseOutput:
        """The prediction for one clip before it is resized to the output.

        Every frame goes through the image segmentor by itself, so that the result is that of a
        stream to the bit, in which every frame is encoded once.

        Args:
            item: as one of ``forward``'s.

        Raises:
            ValueError: as ``forward``.
        """
        *references, target = frames_of(item)
        encoded = self.encode([target])
        output_size = item.get("height", target.shape[1]), item.get("width", target.shape[2])
        if not self._takes_clip([*references, target]):
            return self.coarse(self.classify(encoded), encoded, [output_size])[0]
        tokens = [
            self.assemble(self.encode([frame]), slots=(slot,))
            for slot, frame in enumerate(references)
        ]
        logits = self.output(encoded, self.mine(encoded, tokens), [item])
        return self.coarse(logits, encoded, [output_size])[0]

    def _scores(self, output: CoarseOutput) -> Tensor:
        if isinstance(output, CoarseLogits) and not self.gives_logits:
            return output.probabilities()  # of OUTPUT classifier, on the scale of all others
        return output.full_resolution()

    def _takes_clip(self, frames: list[Tensor]) -> bool:
        """Whether the temporal module works on a clip, or the image segmentor on its target."""
        if self.temporal is None:
            return False
        clip_length = self.num_references + 1
        if len(frames) > clip_length:
            raise ValueError(f"a clip of {len(frames)} frames, expected at most {clip_length}")
        return len(frames) == clip_length > 1

    def encode(self, frames: list[Tensor]) -> EncodedFrames:
        """The image segmentor's part of the work, up to the embedding.

        Args:
            frames: N tensors (3, H, W) of one size, values 0..255.
        """
        padded = self.normalise_and_pad(frames)
        return self.encode_padded(padded.tensor, padded.image_sizes[0])

    def normalise_and_pad(self, frames: list[Tensor]) -> ImageList:
        """Frames (3, H, W), values 0..255 -> a batch as the backbone takes it, and their sizes."""
        return ImageList.from_tensors(
            [(frame.to(self.device) - self.pixel_mean) / self.pixel_std for frame in frames],
            self.head.size_divisibility,
            padding_constraints=self.backbone.padding_constraints,
        )

    def encode_padded(self, batch: Tensor, image_size: tuple[int, int]) -> EncodedFrames:
        """As ``encode``, of a batch (N, 3, H, W) that is normalised and padded already."""
        return self.encoded(*self.head.embed(self.backbone(batch)), image_size, size_of(batch))

    def encoded(
        self,
        embedding: Tensor,
        context: Any,
        image_size: tuple[int, int],
        padded_size: tuple[int, int],
    ) -> EncodedFrames:
        """Embeddings (N, C, h, w), which must cover the frames, with the cells of ``temporal``."""
        self.head.check_size(embedding, padded_size)
        cells = embedding
        if self.temporal is not None:
            cells = self.temporal.resample(embedding, self.head.stride)
        return EncodedFrames(embedding, context, cells, image_size, padded_size)

    def classify(self, encoded: EncodedFrames) -> Any:
        """The image segmentor's logits of N frames, (N, K, h, w), or a MaskPrediction."""
        return self.head.classify(encoded.embedding, encoded.context)

    def assemble(self, encoded: EncodedFrames, slots: Sequence[int] | None = None) -> Any:
        """What later targets look at, see ``TemporalModule.assemble``."""
        assert self.temporal is not None
        return self.temporal.module.assemble(encoded.cells, slots)

    def mine(self, target: EncodedFrames, references: Sequence[Any]) -> Tensor:
        """The refined cells of N targets, (N, dim, h', w').

        Args:
            target: N frames.
            references: their references' tokens, oldest first, each a batch of N.
        """
        assert self.temporal is not None
        return self.temporal.module.mine(target.cells, references)

    def output(
        self, target: EncodedFrames, refined: Tensor, items: Sequence[dict[str, Any]] = ()
    ) -> Any:
        """The video logits of N targets, (N, K, ...) at the output's stride, or a MaskPrediction.

        Args:
            target: N frames.
            refined: of ``mine``.
            items: with a prototype branch: N dicts with ``prototypes``.
        """
        assert self.temporal is not None
        logits = self.temporal.output(target, refined, self.head)
        if self.prototype_branch is not None:
            of_branch = resize(self.prototype_logits(target, items), logits.shape[-2:])
            logits = logits + self.prototype_logit_weight * of_branch
        return logits

    def coarse(
        self,
        logits: Tensor | MaskPrediction,
        encoded: EncodedFrames,
        output_sizes: Sequence[tuple[int, int]],
    ) -> list[CoarseOutput]:
        """Predictions of N frames, on their way to outputs of N heights and widths."""
        return coarse_outputs(logits, encoded, self.head.stride, output_sizes)

    def prototype_logits(self, target: EncodedFrames, items: Sequence[dict[str, Any]]) -> Tensor:
        """The global branch's logits of N targets, (N, K, h', w')."""
        assert self.prototype_branch is not None
        prototypes = [tensor.to(self.pixel_mean) for tensor in prototypes_of(items)]
        return self.prototype_branch(target.cells, prototypes)

    def _checkpoint_activations(self) -> None:
        if not hasattr(self.backbone, "set_activation_checkpointing"):
            raise ValueError(
                "MODEL.ACTIVATION_CHECKPOINTING: the backbone "
                f"{type(self.backbone).__name__} does not offer it; MiT and timm's models do"
            )
        self.backbone.set_activation_checkpointing(True)
        module: Any = None if self.temporal is None else self.temporal.module
        if hasattr(module, "set_activation_checkpointing"):
            module.set_activation_checkpointing(True)

    def train(self, mode: bool = True) -> "CFFMSegmentor":
        """As in torch, but frozen parts stay in evaluation mode."""
        super().train(mode)
        for name in self._frozen_parts:
            getattr(self, name).eval()
        return self
