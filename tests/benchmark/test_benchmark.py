"""What the benchmark measures is what it says, and its figures fit together."""

import json
import math

import pytest
import torch
from detectron2.data import DatasetCatalog

from cffm_plugin.benchmark import (
    Benchmark,
    Entry,
    build_peer,
    check_device,
    gpu_entries,
    measure,
    ratios_of,
    run_suite,
    tables_of,
)
from cffm_plugin.benchmark.data_modes import (
    generated_dataset,
    measure_dataloader,
    measure_evaluation,
)
from cffm_plugin.cli.benchmark import MIT, SUITES, main
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


def test_every_step_does_what_its_name_says(benchmark):
    steps = benchmark.steps(["stream", "clip", "image", "backbone", "train"], with_peer=True)
    for mode in ("stream", "clip", "image", "peer"):
        labels = steps[mode]()
        assert labels.shape == (64, 96) and 0 <= labels.min() <= labels.max() < 5
    frames = []
    hook = benchmark.model.backbone.register_forward_pre_hook(lambda _, x: frames.append(len(x[0])))
    counts = {}
    for mode in ("stream", "clip", "image", "backbone", "train", "plain_backbone_clip"):
        frames.clear()
        steps[mode]()
        counts[mode] = sum(frames)
    hook.remove()
    assert counts == {
        **{"stream": 1, "clip": 4, "image": 1, "backbone": 1},
        **{"train": 4, "plain_backbone_clip": 4},
    }
    assert not benchmark.model.training


def test_the_peer_has_the_size_of_the_image_segmentor(benchmark):
    ours = sum(p.numel() for p in benchmark.model.backbone.parameters())
    assert sum(p.numel() for p in build_peer(benchmark.cfg).segformer.parameters()) == ours


def test_steps_are_run_in_turn_and_summed_up():
    order = []
    steps = {name: lambda name=name: order.append(name) for name in "ab"}
    measured = measure(steps, repeats=2, device=torch.device("cpu"), warmup=1)
    assert "".join(order) == "ababab"
    summary = measured["a"].summary()
    assert summary["repeats"] == 2 and summary["min_s"] <= summary["median_s"] <= summary["max_s"]
    assert summary["peak_gb"] > 0.01  # of this process


def test_ratios_are_those_whose_sides_were_measured(benchmark):
    summaries = {"stream": {"median_s": 3.0}, "image": {"median_s": 2.0}, "clip": {"median_s": 9.0}}
    assert ratios_of(summaries) == {"stream/image": 1.5, "clip/stream": 3.0}


def test_arithmetic_is_counted_of_all_parts(benchmark):
    flops = benchmark.flops
    assert 0 < flops["backbone"] < flops["image"]
    assert flops["backbone"] < flops["stream"] and all(map(math.isfinite, flops.values()))


def test_arithmetic_of_a_model_that_reads_values_is_counted_with_them():
    """Mask2Former's pixel decoder reads sizes out of a tensor, which has none on meta."""
    cfg = load_config(
        "projects/Mask2Former/configs/mask2former_r50_vspw.yaml",
        [
            *("MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.BACKBONE.NAME"),
            *("build_mit_backbone", "MODEL.MIT.NAME", "mit_tiny"),
            *("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "5"),
        ],
    )
    flops = Benchmark(cfg, (64, 96)).flops
    assert 0 < flops["backbone"] < flops["image"] and "stream" not in flops


def test_tables_show_modes_peer_and_ratios():
    summary = {"median_s": 1.0, "min_s": 0.5, "max_s": 2.0, "repeats": 3, "peak_gb": 0.7}
    text = tables_of(
        {
            "modes": {"stream": summary, "dataloader": {"clips_per_s_per_worker": 31.25}},
            "peer": {"peer": summary},
            "ratios": {"stream/peer": 0.47},
            "model": {"parameters": 4.66e6, "flops": {"backbone": 6.1e9}},
        }
    )
    for part in ("stream", "peer", "31.25", "0.47", "4.66 M", "6.1 G"):
        assert part in text


def test_data_are_measured_on_a_generated_dataset_that_is_gone_afterwards(benchmark):
    cfg = benchmark.cfg.clone()
    cfg.INPUT.CLIP.FIT_SIZE, cfg.DATALOADER.NUM_WORKERS = (96, 64), 0
    with generated_dataset(cfg, (64, 96), frames=10) as cfg:
        registered = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
        reading = measure_dataloader(cfg, clips=2)
        scores = measure_evaluation(cfg, benchmark.model, repeats=1)
    parts = ("decoding_images_s", "decoding_masks_s", "augmentation_and_tensors_s")
    assert sum(reading[part] for part in parts) == pytest.approx(reading["median_s"])
    assert scores["frames"] == 3 * 10 and scores["same_scores"]
    assert not set(registered) & set(DatasetCatalog.list())


@pytest.fixture
def nothing_is_compiled(monkeypatch):
    """``compile`` is called and does nothing: that costs seconds, and is tested elsewhere."""
    calls = []
    monkeypatch.setattr(
        "torch.nn.Module.compile", lambda self, **options: calls.append(options["backend"])
    )
    return calls


def test_half_precision_and_compiling_are_measured_beside_float32(benchmark, nothing_is_compiled):
    benchmark.cfg.COMPILE.BACKEND = "eager"
    fast = Benchmark(benchmark.cfg, (64, 96), autocast=torch.bfloat16, compiled=True, streams=2)
    steps = fast.steps(["stream", "image", "train"], with_peer=True)
    assert {"stream", "stream_float32", "image_float32", "peer", "peer_float32"} <= set(steps)
    for name in ("stream", "stream_float32", "image", "image_float32", "peer", "peer_float32"):
        assert steps[name]().shape == (64, 96)
    steps["train"]()
    assert nothing_is_compiled
    dtypes = {parameter.dtype for parameter in fast.model.parameters()}
    assert dtypes == {torch.float32}


def test_the_command_measures_a_compiled_model(nothing_is_compiled, tmp_path):
    file = tmp_path / "figures.json"
    code = main(
        [
            *("--config-file", "configs/vspw/cffm_mit_b0.yaml", "--compile", "--repeats", "1"),
            *("--modes", "stream", "--size", "64", "96", "--warmup", "1", "--json", str(file)),
            *("--opts", "MODEL.DEVICE", "cpu", "MODEL.MIT.NAME", "mit_tiny"),
            *("COMPILE.BACKEND", "eager", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16"),
            *("MODEL.SEM_SEG_HEAD.NORM", "BN", "MODEL.CFFM.NUM_HEADS", "4"),
        ]
    )
    figures = json.loads(file.read_text())
    assert code == 0 and {"stream", "stream_float32"} <= set(figures["modes"])
    assert set(nothing_is_compiled) == {"eager"}


def test_a_suite_gives_a_row_for_every_step_and_says_what_it_left_out(benchmark):
    entries = [
        Entry("tiny", ("stream", "image"), with_peer=True),
        Entry("tiny", ("stream",), torch.bfloat16, streams=3),
    ]
    rows = list(run_suite(entries, {"tiny": benchmark.cfg}, (64, 96), repeats=1))
    steps = [(row[1], row[2]) for row in rows]
    assert steps == [
        *(("float32", name) for name in ("stream", "image", "peer", "peer_backbone")),
        ("bfloat16, 3 streams", "stream"),
    ]
    (late,) = run_suite(entries[:1], {"tiny": benchmark.cfg}, (64, 96), budget=-1.0)
    assert "left out" in late[2]


def test_the_device_is_compared_with_the_cpu(benchmark):
    found = check_device(benchmark.cfg, (64, 96))
    assert found == {"logits": 0.0, "stream is clip": True, "finite losses": True}


def test_every_model_of_the_gpu_suite_has_a_config_that_builds():
    for config, keys in SUITES["gpu"].values():
        cfg = load_config(config, [*keys, "MODEL.DEVICE", "meta"])
        assert cfg.MODEL.TEMPORAL.ENABLED
    entries = gpu_entries(list(SUITES["gpu"]), MIT)
    assert {entry.name for entry in entries} == set(SUITES["gpu"])


@pytest.mark.slow(reason="measures every kind of row of the suite")
def test_the_command_prints_the_table_of_a_suite(
    benchmark, nothing_is_compiled, monkeypatch, tmp_path, capsys
):
    tiny = {"mit_tiny": ("configs/vspw/cffm_mit_b0.yaml", ["MODEL.MIT.NAME", "mit_tiny"])}
    monkeypatch.setitem(SUITES, "gpu", tiny)
    file = tmp_path / "rows.json"
    code = main(
        [
            *("--suite", "gpu", "--size", "32", "32", "--repeats", "1", "--json", str(file)),
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
