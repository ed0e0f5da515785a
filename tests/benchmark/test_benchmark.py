"""What the benchmark measures is what it says, and its figures fit together."""

import json
import math

import torch

from cffm_plugin.benchmark import Benchmark, build_peer, measure, ratios_of, tables_of
from cffm_plugin.cli.benchmark import main
from cffm_plugin.config import load_config


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
            "modes": {"stream": summary},
            "peer": {"peer": summary},
            "ratios": {"stream/peer": 0.47},
            "model": {"parameters": 4.66e6, "flops": {"backbone": 6.1e9}},
        }
    )
    for part in ("stream", "peer", "0.47", "4.66 M", "6.1 G"):
        assert part in text


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
