"""MRCFA, a temporal module: what cells of the target resemble which tokens of past frames, mined
for its relations among neighbouring cells and among levels.

Sun et al., "Mining Relations among Cross-Frame Affinities for Video Semantic Segmentation",
ECCV 2022.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from . import defaults
from .affinity import affinities, aggregate, gather_tokens, resize_tokens, select_tokens
from .affinity_nets import AffinityNets
from .cffm import LARGEST_HIDDEN
from .label_maps import resize
from .levels import level_shapes
from .nested import cat_batches
from .temporal_module import FrameFeatures, Refined, Tokens, WindowedModule

KEY_KERNELS = (4, 2, 1)  # that bring levels of strides 8, 16 and 32 to the tokens' stride
VALUE_KERNEL = 4  # of the cells, which have stride 8


@dataclass(frozen=True)
class MRCFATokens(Tokens):
    """What MRCFA keeps of a past frame, whatever slot it comes to be in.

    Which tokens are looked at depends on the target, so all n of them are kept.

    Attributes:
        height, width: of the frame's cells.
        grid: rows and columns of the n tokens.
        keys: at the two finer levels, (B, n, C_l), finest first.
        coarse_keys: at the coarsest level, for all of its own cells, (B, C_l, h_l, w_l), float32.
        values: (B, n, C).
    """

    height: int
    width: int
    grid: tuple[int, int]
    keys: tuple[Tensor, ...]
    coarse_keys: Tensor
    values: Tensor


class MRCFA(WindowedModule):
    """Refines the cells of a target frame by those of a few earlier frames.

    Cells of the target are compared with every past frame's tokens at three levels of the backbone,
    and small convolution nets refine the maps that this gives. A frame's tokens depend on that
    frame alone.

    Args:
        dim: channels of the cells, C.
        level_channels: of three levels of the backbone, finest first; of strides 8, 16 and 32.
        levels: their names.
        num_references: frames that it looks at besides the target.
        keep: the share of a frame's tokens that is looked at. The paper's is 0.8 for MiT-B0, 0.5
            for others.
        deep_nets: nets of two convolutions, as the paper's for MiT-B1, instead of one.
        score_cells: a token is chosen by the sum of so many largest affinities.

    Raises:
        ValueError: the arguments do not fit together.
    """

    def __init__(
        self,
        dim: int,
        level_channels: Sequence[int],
        *,
        levels: Sequence[str] = defaults.MRCFA_LEVELS,
        num_references: int = len(defaults.FRAME_OFFSETS),
        keep: float = defaults.MRCFA_KEEP,
        deep_nets: bool = defaults.MRCFA_DEEP_NETS,
        score_cells: int = defaults.MRCFA_SCORE_CELLS,
    ):
        super().__init__()
        if not len(level_channels) == len(levels) == len(KEY_KERNELS):
            raise ValueError(
                f"MRCFA takes {len(KEY_KERNELS)} levels of the backbone, got the names "
                f"{tuple(levels)} and the channels {tuple(level_channels)}"
            )
        if not 0 < keep <= 1 or score_cells < 1 or num_references < 1:
            raise ValueError(
                "0 < keep <= 1, score_cells >= 1 and num_references >= 1, got "
                f"{keep}, {score_cells} and {num_references}"
            )
        self.dim = dim
        self.levels = tuple(levels)
        self.num_references = self.num_auxiliary = num_references
        self.keep = keep
        self.score_cells = score_cells
        self.activation_checkpointing = False
        self.queries = nn.ModuleList(nn.Linear(c, c) for c in level_channels)
        self.keys = nn.ModuleList(nn.Linear(c, c) for c in level_channels)
        self.key_reductions = nn.ModuleList(
            nn.Conv2d(c, c, kernel, stride=kernel)
            for c, kernel in zip(level_channels[:-1], KEY_KERNELS)
        )
        self.values = nn.Conv2d(dim, dim, VALUE_KERNEL, stride=VALUE_KERNEL)
        self.nets = AffinityNets(deep_nets)

    @classmethod
    def build(
        cls,
        embedding_channels: int,
        output_shape: Mapping[str, Any],
        *,
        levels: Sequence[str] = defaults.MRCFA_LEVELS,
        **arguments: Any,
    ) -> "MRCFA":
        """As ``TemporalModule.build``, with the backbone's channels of the levels.

        Raises:
            ValueError: the backbone lacks a level.
        """
        shapes = level_shapes(output_shape, levels, cls.__name__)
        channels = [shape.channels for shape in shapes]
        return cls(embedding_channels, channels, levels=levels, **arguments)

    def set_activation_checkpointing(self, enable: bool) -> None:
        """Whether training computes the nets' maps again instead of keeping them."""
        self.activation_checkpointing = enable

    def compute_in(self, dtype: torch.dtype) -> None:
        """Cast what makes queries, keys and values, for inference.

        The coarsest level stays in float32, as tokens are chosen by it, and so does what follows.
        """
        for maps in (self.queries[:-1], self.keys[:-1], self.key_reductions, self.values):
            maps.to(dtype)

    def start_as_identity(self) -> bool:
        """Let all values be zero: the target comes out as it is, bit for bit."""
        assert self.values.bias is not None
        nn.init.zeros_(self.values.weight)
        nn.init.zeros_(self.values.bias)
        return True

    def compile_parts(self, **options: Any) -> None:
        """Put the nets through ``torch.compile``: what ``mine`` spends its time on."""
        self.nets.compile(**options)

    def assemble(self, frame: FrameFeatures, slots: Sequence[int] | None = None) -> MRCFATokens:
        """The tokens of a frame, the same for all slots.

        Args:
            frame: cells (B, dim, h, w), and levels (B, C_l, h_l, w_l), finest first.
            slots: not looked at.

        Raises:
            ValueError: a frame of another shape.
        """
        self._check_frame(frame, "frame")
        values = _reduce(self.values, frame.cells)
        grid = values.shape[2], values.shape[3]
        keys = []
        for level, reduction, linear in zip(frame.levels, self.key_reductions, self.keys):
            reduced = _reduce(reduction, level)
            own_grid = reduced.shape[2], reduced.shape[3]
            keys.append(resize_tokens(_in_dtype(linear, _tokens(reduced)), own_grid, grid))
        coarsest = frame.levels[-1]
        with torch.autocast(coarsest.device.type, enabled=False):
            coarse_keys = self.keys[-1](_tokens(coarsest.float()))
        height, width = frame.cells.shape[2:]
        return MRCFATokens(
            height=height,
            width=width,
            grid=grid,
            keys=tuple(keys),
            coarse_keys=coarse_keys.transpose(1, 2).unflatten(2, coarsest.shape[2:]),
            values=_tokens(values),
        )

    def mine(self, target: FrameFeatures, references: Sequence[MRCFATokens]) -> Tensor | Refined:
        """Refine the cells of a target frame by the tokens of its references.

        Args:
            target: cells (B, dim, h, w), and levels (B, C_l, h_l, w_l), finest first.
            references: one per reference frame, oldest first, of frames of the same size.

        Returns:
            (B, dim, h, w). In training with what each reference gives alone, the auxiliary maps, of
            the same shape.

        Raises:
            ValueError: another number of references, or of another size.
        """
        self._check_frame(target, "target")
        self.check_references(target, references)
        queries = [_in_dtype(q, _tokens(x)) for q, x in zip(self.queries, target.levels[:-1])]
        with torch.autocast(target.cells.device.type, enabled=False):
            queries.append(self.queries[-1](_tokens(target.levels[-1].float())))
            aggregated = [
                by_reference
                for some in self._together(target, references)
                for by_reference in self._aggregate(target, queries, some)
            ]
            refined = target.cells + torch.stack(aggregated).mean(dim=0)
        return Refined(refined, tuple(aggregated)) if self.training else refined

    def _together(
        self, target: FrameFeatures, references: Sequence[MRCFATokens]
    ) -> list[Sequence[MRCFATokens]]:
        """References as one batch; or one by one, where maps are large and nothing is trained."""
        rows, columns = references[0].grid
        values = len(references) * rows * columns * target.levels[0][:, 0].numel()
        if torch.is_grad_enabled() or self.keep * values <= LARGEST_HIDDEN:
            return [references]
        return [[tokens] for tokens in references]

    def _aggregate(
        self, target: FrameFeatures, queries: Sequence[Tensor], references: Sequence[MRCFATokens]
    ) -> tuple[Tensor, ...]:
        """What each of some references gives to the target's cells, (B, C, h, w)."""
        tokens = cat_batches(references)
        *fine_queries, query = (q.float().repeat(len(references), 1, 1) for q in queries)
        key_grid = tokens.coarse_keys.shape[2], tokens.coarse_keys.shape[3]
        affinity = affinities(query, _tokens(tokens.coarse_keys))
        selected = select_tokens(affinity, key_grid, tokens.grid, self.keep, self.score_cells)
        kept = [
            affinities(q, gather_tokens(keys.float(), selected))
            for q, keys in zip(fine_queries, tokens.keys)
        ]
        kept.append(gather_tokens(resize_tokens(affinity, key_grid, tokens.grid), selected))
        maps = [a.unflatten(2, level.shape[2:]) for a, level in zip(kept, target.levels)]
        if self.activation_checkpointing and torch.is_grad_enabled():
            mined = checkpoint(self.nets, *maps, use_reentrant=False)
        else:
            mined = self.nets(*maps)
        mined = resize(mined, target.cells.shape[2:])
        values = gather_tokens(tokens.values.float(), selected)
        return aggregate(mined, values).chunk(len(references))

    def _check_frame(self, frame: FrameFeatures, name: str) -> None:
        channels: list[Any] = [linear.in_features for linear in self.queries]
        got = [tuple(feature.shape) for feature in (frame.cells, *frame.levels)]
        if [shape[1:2] for shape in got] != [(c,) for c in (self.dim, *channels)]:
            raise ValueError(
                f"{name}: expected cells (B, {self.dim}, h, w) and levels "
                f"{', '.join(f'(B, {c}, h, w)' for c in channels)}, got {got}"
            )


def _tokens(feature: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h * w, C)."""
    return feature.flatten(2).transpose(1, 2)


def _in_dtype(module: Any, x: Tensor) -> Tensor:
    """What a module gives in the dtype that it was cast to."""
    return module(x.to(module.weight.dtype))


def _reduce(convolution: Any, feature: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, h // kernel, w // kernel); a map smaller than the kernel gives one."""
    kernel = convolution.kernel_size[0]
    bottom, right = (max(0, kernel - side) for side in feature.shape[2:])
    if right or bottom:
        feature = F.pad(feature, (0, right, 0, bottom))
    return _in_dtype(convolution, feature)
