"""The scaling tool measures what it says, and its exponents are those of its points."""

import json

import pytest

from lab.axes import exponent
from lab.scaling import main

TINY = [
    *("MODEL.DEVICE", "cpu", "MODEL.MIT.NAME", "mit_tiny", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16"),
    *("MODEL.SEM_SEG_HEAD.NORM", "BN", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "5"),
    *("MODEL.CFFM.NUM_HEADS", "4"),
]


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_the_exponent_is_the_power_that_times_follow(power):
    points = [{"size": size, "seconds": 3 * size**power} for size in (10, 40, 700)]
    assert exponent(points) == pytest.approx(power)


@pytest.mark.slow(reason="measures on four axes")
def test_every_axis_is_measured_written_and_drawn(tmp_path, capsys):
    figures, picture = tmp_path / "figures.json", tmp_path / "scaling.png"
    code = main(
        [
            *("--config-file", "configs/vspw/cffm_mit_b0.yaml", "--size", "64", "96"),
            *("--repeats", "1", "--json", str(figures), "--plot", str(picture)),
            *("--lines", "32", "64", "--classes", "2", "5", "--streams", "1", "2"),
            *("--references", "1", "4", "--opts", *TINY),
        ]
    )
    points_of = json.loads(figures.read_text())
    assert code == 0 and list(points_of) == ["lines", "classes", "streams", "references"]
    assert [point["size"] for point in points_of["lines"]] == [32 * 64, 64 * 96]
    assert [point["value"] for point in points_of["references"]] == [1, 4]
    assert all(p["seconds"] > 0 and p["peak_gb"] > 0 for axis in points_of.values() for p in axis)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.count("time grows with the power") == 4
