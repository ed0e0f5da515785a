"""What large maps need less memory by changes nothing of what comes out."""

import pytest
import torch

from cffm_plugin import CFFM
from cffm_plugin.core import MIT_VARIANTS, cffm, mit
from cffm_plugin.modeling import MiT


@pytest.mark.parametrize("largest", [1, 3000, 100_000])
def test_an_mlp_in_parts_gives_what_it_gives_at_once(monkeypatch, largest):
    torch.manual_seed(0)
    temporal = CFFM(16, 1, num_heads=2).eval()
    backbone = MiT(MIT_VARIANTS["mit_tiny"]).eval()
    clip, image = torch.randn(2, 4, 16, 9, 10), torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        refined, features = temporal(clip), backbone(image)
        for module in (cffm, mit):
            monkeypatch.setattr(module, "LARGEST_HIDDEN", largest)
        assert torch.allclose(temporal(clip), refined, atol=1e-5)
        for name, feature in backbone(image).items():
            assert torch.allclose(feature, features[name], atol=1e-4), name
