"""What sizes of images a net takes, found out by trying."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from torch import nn

from .strides import sizes_to_measure

UNITS = (0, 2, 4, 8, 14, 16, 32, 64, 128)  # what sides may have to be multiples of
SCALES = (1, 2, 4)  # of the images that are tried: a net may take none of the small ones
_LARGEST_SIDE = 640  # of those, but for the smallest scale

Look = TypeVar("Look")


class SizeError(ValueError):
    """A net does not take images of a size, or does not cover them with its cells."""


def sizes_to_probe(unit: int, scale: int = 1) -> list[tuple[int, int]]:
    """Images whose sides are multiples of ``unit``: of none larger, and others.

    Args:
        unit: 0 for any.
        scale: times as large.
    """
    step = max(1, unit)
    odd = [max(least, -(-side * scale // step) | 1) for side, least in ((75, 3), (101, 5))]
    others = [(height * scale, width * scale) for height, width in sizes_to_measure(unit)]
    return [(odd[0] * step, odd[1] * step), *others]


@contextmanager
def say_size(net: nn.Module, size: tuple[int, int]) -> Iterator[None]:
    """
    Raises:
        SizeError: in place of what a net raises on an image that it does not take.
    """
    try:
        yield
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        raise SizeError(
            f"{type(net).__name__} on an image of {size[0]}x{size[1]} pixels: {error}"
        ) from error


def first_size(
    net: nn.Module,
    look: Callable[[Sequence[tuple[int, int]]], Look],
    size_divisibility: int | None = None,
    image_size: int | None = None,
) -> tuple[Look, int, int | None]:
    """The first of the sizes that images may be padded to with which a net is understood.

    Args:
        net: see ``take_apart``, as for what is given.
        look: images of such sizes -> what is understood; raises ``SizeError`` where the net does
            not take them, and another ``ValueError`` where it does something else.

    Returns:
        it; what sides are multiples of, 0 for any; and the one side that the net takes, or None.

    Raises:
        ValueError: it is not understood with any.
    """
    units = UNITS if size_divisibility is None else (size_divisibility,)
    problems: list[ValueError] = []
    if image_size is None:
        for unit in units:
            for scale in SCALES:
                sizes = sizes_to_probe(unit, scale)
                if scale > 1 and max(map(max, sizes)) > _LARGEST_SIDE:
                    break
                try:
                    return look(sizes), unit, None
                except SizeError as error:
                    problems.append(error)
                except ValueError as error:
                    problems.append(error)
                    break  # larger ones are no other
    sides = [] if size_divisibility is not None else _sides_of(net)
    for side in sides if image_size is None else [image_size]:
        try:
            return look([(side, side)]), 0, side
        except ValueError as error:
            problems.append(error)
    explained = [problem for problem in problems if not isinstance(problem, SizeError)]
    if explained:  # it takes images, and does something else
        raise explained[-1]
    raise ValueError(
        f"{type(net).__name__} takes no image of those that were tried. Pass what its sides must "
        "be multiples of (size_divisibility=32), or the one side that it takes (image_size=224). "
        f"At first: {problems[0]}"
    ) from problems[0]


def _sides_of(net: nn.Module) -> list[int]:
    """Sides of squares that parts of a net say they take."""
    sides: list[int] = []
    for module in net.modules():
        for holder in (module, getattr(module, "config", None)):
            for name in ("img_size", "image_size"):
                size = getattr(holder, name, None)
                pair = (size, size) if isinstance(size, int) else size
                if isinstance(pair, tuple | list) and len(pair) == 2 and pair[0] == pair[1]:
                    sides.append(pair[0])
    return [*dict.fromkeys(sides)]
