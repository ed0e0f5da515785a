"""Generated weights in our names, which the tests of each format start from."""

from collections.abc import Callable

import golden_cases
import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def segmentor_weights() -> Callable[..., dict[str, Tensor]]:
    """A function: MiT variant, K, C -> weights of an image segmentor, deterministic by name."""
    from cffm_plugin.modeling import MiT, SegFormerHead
    from cffm_plugin.modeling.backbone import MIT_VARIANTS

    def build(variant: str = "mit_b0", num_classes: int = 7, dim: int = 256) -> dict[str, Tensor]:
        with torch.device("meta"):
            backbone = MiT(MIT_VARIANTS[variant])
            head = SegFormerHead(
                backbone.output_shape(), num_classes=num_classes, embedding_channels=dim, norm="BN"
            )
        parts = torch.nn.ModuleDict({"backbone": backbone, "sem_seg_head": head})
        return golden_cases.state_dict({k: tuple(v.shape) for k, v in parts.state_dict().items()})

    return build
