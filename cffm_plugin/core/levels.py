"""Named maps of a backbone, for temporal modules that look at more than the embedding."""

from collections.abc import Mapping, Sequence
from typing import Any


def output_shape_of(backbone: Any) -> dict[str, Any]:
    """Name of a map -> what has its ``channels`` and ``stride``; {} of backbones that do not say,
    such as that of a wrapped net, which offers the embedding alone."""
    return dict(backbone.output_shape()) if hasattr(backbone, "output_shape") else {}


def level_shapes(
    output_shape: Mapping[str, Any], levels: Sequence[str], module: str
) -> tuple[Any, ...]:
    """What has ``channels`` and ``stride``, of each level.

    Args:
        output_shape: of the backbone.
        levels: names of its maps.
        module: the name of the temporal module that looks at them, for the message.

    Raises:
        ValueError: the backbone has no such maps.
    """
    missing = [level for level in levels if level not in output_shape]
    if missing:
        has = f"gives {', '.join(output_shape)}" if output_shape else "names no maps that it gives"
        raise ValueError(
            f"{module} looks at the backbone's maps {', '.join(levels)}, and the backbone {has}. "
            "Take a backbone that has them, such as MiT or a ResNet (a net of wrap offers its "
            "embedding alone); or a temporal module that needs none, such as CFFM."
        )
    return tuple(output_shape[level] for level in levels)
