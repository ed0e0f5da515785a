"""The GPU table: every model and mode, and whether the device computes what the CPU does."""

import json

import torch

from cffm_plugin.config import load_config
from lab.gpu_table import MIT, MODELS, Entry, check_device, gpu_entries, main, measure_entries


def test_there_is_a_row_for_every_step_and_says_what_it_left_out(benchmark):
    entries = [
        Entry("tiny", ("stream", "image"), with_peer=True),
        Entry("tiny", ("stream",), torch.bfloat16, streams=3),
    ]
    rows = list(measure_entries(entries, {"tiny": benchmark.cfg}, (64, 96), repeats=1))
    steps = [(row[1], row[2]) for row in rows]
    assert steps == [
        *(("float32", name) for name in ("stream", "image", "peer", "peer_backbone")),
        ("bfloat16, 3 streams", "stream"),
    ]
    (late,) = measure_entries(entries[:1], {"tiny": benchmark.cfg}, (64, 96), budget=-1.0)
    assert "left out" in late[2]


def test_the_device_is_compared_with_the_cpu(benchmark):
    found = check_device(benchmark.cfg, (64, 96))
    assert found == {"logits": 0.0, "stream is clip": True, "finite losses": True}


def test_every_model_of_the_table_has_a_config_that_builds():
    for config, keys in MODELS.values():
        cfg = load_config(config, [*keys, "MODEL.DEVICE", "meta"])
        assert cfg.MODEL.TEMPORAL.ENABLED
    entries = gpu_entries(list(MODELS), MIT)
    assert {entry.name for entry in entries} == set(MODELS)


def test_the_command_prints_the_table(
    benchmark, nothing_is_compiled, monkeypatch, tmp_path, capsys
):
    tiny = {"mit_tiny": ("configs/vspw/cffm_mit_b0.yaml", ["MODEL.MIT.NAME", "mit_tiny"])}
    monkeypatch.setattr("lab.gpu_table.MODELS", tiny)
    file = tmp_path / "rows.json"
    code = main(
        [
            *("--size", "64", "96", "--repeats", "1", "--json", str(file)),
            *("--opts", "MODEL.DEVICE", "cpu", "COMPILE.BACKEND", "eager"),
            *("MODEL.SEM_SEG_HEAD.CONVS_DIM", "16", "MODEL.SEM_SEG_HEAD.NORM", "BN"),
            *("INPUT.CROP.SIZE", "[32, 32]", "MODEL.CFFM.NUM_HEADS", "4"),
        ]
    )
    rows = json.loads(file.read_text())
    assert code == 0 and {row[1] for row in rows} >= {"float32", "bfloat16, 8 streams"}
    assert any("compiled (reduce-overhead)" in row[1] for row in rows)
    assert [row[2] for row in rows if "checkpointing" in row[1]].count("train") == 2
    assert '"stream is clip": true' in capsys.readouterr().out
