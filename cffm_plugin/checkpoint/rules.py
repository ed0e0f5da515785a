"""What may become of a key of somebody else's checkpoint.

A rule fits a key whose whole text its pattern matches. Targets are our names: templates for
``re.Match.expand``, or functions of the match.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

Target = str | Callable[[re.Match], str]

# Of the encoder as its authors spell it, which is how we do: part and rest of a name.
ENCODER = r"(patch_embed[1-4]|block[1-4]\.\d+|norm[1-4])\.(.+)"
# Of Swin, as Detectron2 and Mask2Former spell it too.
SWIN_ENCODER = (
    r"(patch_embed\.(?:proj|norm)|layers\.\d\.(?:blocks\.\d+|downsample)|norm[0-3])\.(.+)"
)
TENSOR = r"\.(weight|bias)"


@dataclass(frozen=True)
class Piece:
    """Rows of a tensor of ours: the ``part``-th of ``parts``, along the first dimension."""

    name: str
    tensor: Tensor
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Rename:
    """One tensor of theirs is one of ours, or the ``part``-th of the ``parts`` of its rows."""

    pattern: str
    target: Target
    transform: Callable[[Tensor], Tensor] = lambda tensor: tensor
    part: int = 0
    parts: int = 1

    def names(self, match: re.Match) -> tuple[str, ...]:
        return (expand(self.target, match),)

    def pieces(self, match: re.Match, tensor: Tensor) -> list[Piece]:
        name = expand(self.target, match)
        return [Piece(name, self.transform(tensor), self.part, self.parts)]


@dataclass(frozen=True)
class Split:
    """The rows of one tensor of theirs, in equal parts, are several tensors of ours.

    Attributes:
        targets: one per part. Parts with the same target stay together; None is left out.
        reason: why parts are left out.
    """

    pattern: str
    targets: tuple[Target | None, ...]
    reason: str = ""

    def names(self, match: re.Match) -> tuple[str, ...]:
        return tuple(dict.fromkeys(expand(target, match) for target in self.targets if target))

    def pieces(self, match: re.Match, tensor: Tensor) -> list[Piece]:
        targets = [expand(target, match) if target else None for target in self.targets]
        parts = tensor.split(self._rows(match, tensor))
        return [
            Piece(name, torch.cat([part for part, target in zip(parts, targets) if target == name]))
            for name in self.names(match)
        ]

    def left_out(self, match: re.Match, tensor: Tensor) -> list[str]:
        """The rows that are left out, as ``key[first:last + 1]``."""
        rows = self._rows(match, tensor)
        indices = [i for i, target in enumerate(self.targets) if target is None]
        return [f"{match[0]}[{i * rows}:{(i + 1) * rows}]" for i in indices]

    def _rows(self, match: re.Match, tensor: Tensor) -> int:
        """How many rows a part has."""
        parts = len(self.targets)
        if tensor.dim() == 0 or tensor.shape[0] % parts:
            raise ValueError(
                f"{match[0]} has shape {tuple(tensor.shape)}; expected rows in {parts} equal parts"
            )
        return tensor.shape[0] // parts


@dataclass(frozen=True)
class _NothingOfOurs:
    pattern: str
    reason: str

    def names(self, match: re.Match) -> tuple[str, ...]:
        return ()


class Drop(_NothingOfOurs):
    """A key that is knowingly left out."""


class Refuse(_NothingOfOurs):
    """A key that the source needs and that our model can't represent: an error."""


Rule = Rename | Split | Drop | Refuse


@dataclass(frozen=True)
class Format:
    """A kind of checkpoint.

    Attributes:
        name: what it is called to the user.
        signature: pattern of a key that tells the format.
        rules: the first whose pattern matches a key is applied.
        unless: pattern of a key with which it is another format in spite of the signature.
    """

    name: str
    signature: str
    rules: tuple[Rule, ...]
    unless: str = ""

    def fits(self, keys: Collection[str]) -> bool:
        def any_is(pattern: str) -> bool:
            return any(re.fullmatch(pattern, key) for key in keys)

        return any_is(self.signature) and not (self.unless and any_is(self.unless))

    def find(self, key: str) -> tuple[Rule, re.Match] | None:
        """The rule for a key, with the match of its pattern."""
        for rule in self.rules:
            match = re.fullmatch(rule.pattern, key)
            if match is not None:
                return rule, match
        return None


def expand(target: Target, match: re.Match) -> str:
    return target(match) if callable(target) else match.expand(target)


def numbered(template: str, offset: int) -> Callable[[re.Match], str]:
    """A target for sources that count differently.

    ``{stage}`` in the template is the match's first group, a number, plus ``offset``.
    """

    def target(match: re.Match) -> str:
        return match.expand(template.replace("{stage}", str(int(match[1]) + offset)))

    return target


def in_block(name: str) -> Target:
    """A layer of MiT's blocks, for matches of stage (from 0), block and kind of tensor."""
    return numbered(rf"backbone.block{{stage}}.\2.{name}.\3", +1)
