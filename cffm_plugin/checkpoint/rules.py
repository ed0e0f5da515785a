"""What may become of a key of somebody else's checkpoint.

A rule fits a key whose whole text its pattern matches. Targets are our names: templates for
``re.Match.expand``, or functions of the match.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Target = str | Callable[[re.Match], str]


@dataclass(frozen=True)
class Piece:
    """Rows of a tensor of ours: the ``part``-th of ``parts``, along the first dimension."""

    name: str
    tensor: Tensor
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Rename:
    """One tensor of theirs is one of ours."""

    pattern: str
    target: Target
    transform: Callable[[Tensor], Tensor] = lambda tensor: tensor

    def names(self, match: re.Match) -> tuple[str, ...]:
        return (expand(self.target, match),)

    def pieces(self, match: re.Match, tensor: Tensor) -> list[Piece]:
        return [Piece(expand(self.target, match), self.transform(tensor))]


@dataclass(frozen=True)
class Merge:
    """One tensor of theirs is the ``part``-th of the ``parts`` that ours has along its rows."""

    pattern: str
    target: Target
    part: int
    parts: int

    def names(self, match: re.Match) -> tuple[str, ...]:
        return (expand(self.target, match),)

    def pieces(self, match: re.Match, tensor: Tensor) -> list[Piece]:
        return [Piece(expand(self.target, match), tensor, self.part, self.parts)]


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
        parts = self._parts(match, tensor)
        return [
            Piece(name, torch.cat([part for part, target in zip(parts, targets) if target == name]))
            for name in self.names(match)
        ]

    def left_out(self, match: re.Match, tensor: Tensor) -> list[str]:
        """The rows that are left out, as ``key[first:last + 1]``."""
        rows = len(self._parts(match, tensor)[0])
        indices = [i for i, target in enumerate(self.targets) if target is None]
        return [f"{match[0]}[{i * rows}:{(i + 1) * rows}]" for i in indices]

    def _parts(self, match: re.Match, tensor: Tensor) -> tuple[Tensor, ...]:
        parts = len(self.targets)
        if tensor.dim() == 0 or tensor.shape[0] % parts:
            raise ValueError(
                f"{match[0]} has shape {tuple(tensor.shape)}; expected rows in {parts} equal parts"
            )
        return tensor.split(tensor.shape[0] // parts)


@dataclass(frozen=True)
class Drop:
    """A key that is knowingly left out."""

    pattern: str
    reason: str

    def names(self, match: re.Match) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class Refuse:
    """A key that the source needs and that our model can't represent: an error."""

    pattern: str
    reason: str

    def names(self, match: re.Match) -> tuple[str, ...]:
        return ()


Rule = Rename | Merge | Split | Drop | Refuse


def expand(target: Target, match: re.Match) -> str:
    return target(match) if callable(target) else match.expand(target)


def numbered(template: str, offset: int) -> Callable[[re.Match], str]:
    """A target for sources that count differently.

    ``{stage}`` in the template is the match's first group, a number, plus ``offset``.
    """

    def target(match: re.Match) -> str:
        return match.expand(template.replace("{stage}", str(int(match[1]) + offset)))

    return target
