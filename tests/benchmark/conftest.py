"""What the tests of benchmarks share: a tiny model."""

import pytest

from cffm_plugin.benchmark import Benchmark
from cffm_plugin.config import load_config


@pytest.fixture(scope="module")
def benchmark():
    cfg = load_config(
        "configs/vspw/cffm_mit_b0.yaml",
        [
            *("MODEL.DEVICE", "cpu", "MODEL.MIT.NAME", "mit_tiny", "INPUT.CROP.SIZE", "[32, 32]"),
            *("MODEL.SEM_SEG_HEAD.CONVS_DIM", "16", "MODEL.SEM_SEG_HEAD.NORM", "BN"),
            *("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "5", "MODEL.CFFM.NUM_HEADS", "4"),
        ],
    )
    return Benchmark(cfg, (64, 96))


@pytest.fixture
def nothing_is_compiled(monkeypatch):
    """``compile`` is called and does nothing: that costs seconds, and is tested elsewhere."""
    calls = []
    monkeypatch.setattr(
        "torch.nn.Module.compile", lambda self, **options: calls.append(options["backend"])
    )
    return calls
