"""CFFM through torch.compile: the program of the default backend gives the same."""

import shutil

import pytest
import torch

from cffm_plugin import CFFM


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_cffm_compiled_by_inductor_is_cffm():
    torch.manual_seed(0)
    plain = CFFM(16, 1, num_heads=2).eval()
    compiled = CFFM(16, 1, num_heads=2).eval()
    compiled.load_state_dict(plain.state_dict())
    compiled.compile(dynamic=False)
    clip = torch.randn(1, 4, 16, 9, 10)
    with torch.no_grad():
        assert torch.allclose(compiled(clip), plain(clip), atol=1e-5)
