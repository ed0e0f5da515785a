"""Exported graphs give what the model gives, in ONNX and by torch.export."""

import copy
import json
import shutil

import onnxruntime
import pytest
import torch
from test_hostile_folders import point_outside

from cffm_plugin.data import inference_clip
from cffm_plugin.export import (
    StreamSpec,
    compare,
    export_stream,
    load_programs,
    onnx_runner,
    random_frames,
    stream_graphs,
)
from cffm_plugin.export.writing import export_graph


def read_manifest(folder):
    return json.loads((folder / "stream.json").read_text())


KINDS = ["mit", "timm", "plus", "refine", "recall", "mrcfa", "recurrent", "tv3s", "image"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_onnx_stream_agrees_with_the_model_on_20_frames(exported, onnx_stream, kind):
    of_kind = exported(kind)
    agreement = compare(
        of_kind.segmentor,
        onnx_stream(kind),
        random_frames(of_kind.size, 20),
        of_kind.prototypes,
    )
    assert agreement.frames == 20
    assert agreement.logits <= 1e-3


@pytest.mark.own_process
def test_openvino_says_its_precision_can_be_held_to_float32_and_reads_nothing_outside(
    exported, caplog, tmp_path
):
    of_kind = exported("recall")
    manifest = onnx_runner.read_manifest(of_kind.folder)
    agreements = {}
    for float32 in (False, True):
        options = {"runtime": "openvino", "float32": float32}
        graphs = onnx_runner.load_graphs(of_kind.folder, manifest, **options)
        precision = onnx_runner.precision_of(graphs)
        said = [r.message for r in caplog.records if f"computes in {precision}" in r.message]
        assert len(said) == (precision != "float32")
        agreements[float32] = (
            precision,
            compare(
                of_kind.segmentor,
                onnx_runner.Stream(manifest, graphs),
                random_frames(of_kind.size, 12),
                of_kind.prototypes,
            ),
        )
    _, own = agreements[False]
    assert own.labels > 0.95  # bfloat16 on a CPU that has it
    precision, held = agreements[True]
    assert precision == "float32"
    assert held.logits < 1e-3
    folder = tmp_path / "elsewhere" / "exported"
    shutil.copytree(of_kind.folder, folder)
    point_outside(folder, tmp_path, "link.bin")
    with pytest.raises(ValueError, match="classify.onnx: openvino can't load it"):
        onnx_runner.load_graphs(folder, manifest, runtime="openvino")


def test_programs_of_torch_export_equal_eager_after_loading(exported):
    of_kind = exported("mit")
    graphs, _ = stream_graphs(of_kind.segmentor.model, of_kind.size, full_resolution=True)
    programs = load_programs(of_kind.folder)
    assert programs.keys() == graphs.keys()
    generator = torch.Generator().manual_seed(1)
    for name, graph in graphs.items():
        inputs = {
            key: torch.randn(value.shape, generator=generator)
            for key, value in graph.inputs.items()
        }
        with torch.no_grad():
            expected = graph.module(**inputs)
        outputs = programs[name]({key: x.numpy() for key, x in inputs.items()}, expected)
        for key, value in expected.items():
            torch.testing.assert_close(torch.from_numpy(outputs[key]), value, rtol=0, atol=1e-5)


def test_a_wrong_reference_shows(exported, onnx_stream):
    stream = onnx_stream("mit")
    references = stream.references
    stream.references = lambda target: references(target)[::-1]
    of_kind = exported("mit")
    assert compare(of_kind.segmentor, stream, random_frames(of_kind.size, 5)).logits > 1e-2


@pytest.mark.parametrize("kind", ["mit", "timm"])
def test_switches_of_training_do_not_reach_the_graphs(exported, kind):
    model = copy.deepcopy(exported(kind).segmentor.model)
    programs = []
    for enable in (False, True):
        model.backbone.set_activation_checkpointing(enable)
        model.temporal.module.set_activation_checkpointing(enable)
        model.train(enable)
        graphs, _ = stream_graphs(model, (32, 32))
        programs.append([export_graph(graphs[name]) for name in ("encode", "refine")])
    for without, with_switches in zip(*programs):
        targets = [[str(node.target) for node in p.graph.nodes] for p in (without, with_switches)]
        assert targets[0] == targets[1]


def test_a_large_frame_is_attended_to_at_once(exported):
    graphs, _ = stream_graphs(exported("mit").segmentor.model, (448, 512))
    nodes = export_graph(graphs["refine"]).graph.nodes
    attentions = [n for n in nodes if "scaled_dot_product_attention" in str(n.target)]
    assert len(attentions) == 2  # one per block of CFFM, not one per group of windows


@pytest.mark.parametrize("kind", ["mit", "plus", "refine"])
def test_the_manifest_says_where_every_input_comes_from(exported, kind):
    depth = 1 if kind == "refine" else 2  # of CFFM
    graphs = read_manifest(exported(kind).folder)["graphs"]
    produced = {item["name"]: item for item in graphs["encode"]["outputs"]}
    for name in ("classify", "refine"):
        for item in graphs[name]["inputs"]:
            if item["name"] == "prototypes":
                assert item["shape"] == [1, "num_prototypes", 32] and "from" not in item
                continue
            source = produced[item["name"]]
            assert item["from"] == "encode"
            assert (source["shape"], source["dtype"]) == (item["shape"], item["dtype"])
    tokens = [item for item in graphs["refine"]["inputs"] if item["name"].startswith("tokens_")]
    assert [(item["name"], item["reference"]) for item in tokens] == [
        (f"tokens_slot{slot}_{block}", slot) for slot in range(3) for block in range(depth)
    ]


def test_the_manifest_lists_the_references_of_the_first_frames(exported):
    references = read_manifest(exported("mit").folder)["references"]
    assert references["offsets"] == [-9, -6, -3]
    assert references["first_frames"] == [inference_clip(t)[:-1] for t in range(9)]


def test_a_recurrent_module_has_a_graph_that_takes_what_it_gave_for_the_frame_before(
    exported, onnx_stream
):
    manifest = read_manifest(exported("recurrent").folder)
    assert set(manifest["graphs"]) == {"encode", "classify", "step"}
    assert manifest["references"] == {"offsets": [], "first_frames": []}
    step = manifest["graphs"]["step"]
    given = {item["name"]: item for item in step["outputs"]}
    states = {item["name"]: item for item in step["inputs"] if "state" in item}
    assert {name: item["state"] for name, item in states.items()} == {
        "state_0": "next_state_0",
        "state_1": "next_state_1",
    }
    for item in states.values():
        assert item["from"] == "step" and item["shape"] == given[item["state"]]["shape"]
    stream, of_kind = onnx_stream("recurrent"), exported("recurrent")
    frames = [frame.numpy() for frame in random_frames(of_kind.size, 3)]
    first = [stream.full_logits(frame) for frame in frames]
    before = [value.nbytes for value in stream.state.values()]
    for frame in frames * 5:
        stream.full_logits(frame)
    assert [value.nbytes for value in stream.state.values()] == before
    stream.reset()
    assert all((stream.full_logits(f) == x).all() for f, x in zip(frames, first))
    stream.reset()
    assert abs(stream.full_logits(frames[2]) - first[2]).max() > 1e-2  # the past matters


def test_a_recurrent_module_that_does_not_start_at_zeros_is_not_exported(exported, tmp_path):
    model = copy.deepcopy(exported("recurrent").segmentor.model)
    model.temporal.module.first = 1.0
    with pytest.raises(ValueError, match="RunningMean: a state of zeros is not a video's start"):
        export_stream(model, StreamSpec(), tmp_path / "new", (32, 32))


def test_an_image_segmentor_has_no_references_and_no_graph_for_them(exported):
    manifest = read_manifest(exported("image").folder)
    assert set(manifest["graphs"]) == {"encode", "classify"}
    assert manifest["references"] == {"offsets": [], "first_frames": []}
    assert [item["name"] for item in manifest["graphs"]["encode"]["outputs"]] == ["embedding"]


def test_names_in_the_files_are_those_of_the_manifest(exported):
    folder = exported("mit").folder
    for graph in read_manifest(folder)["graphs"].values():
        session = onnxruntime.InferenceSession(str(folder / graph["files"]["onnx"]))
        for described, found in (
            (graph["inputs"], session.get_inputs()),
            (graph["outputs"], session.get_outputs()),
        ):
            assert [(item["name"], item["shape"]) for item in described] == [
                (item.name, item.shape) for item in found
            ]


def test_the_model_stays_as_it_is(exported):
    model = exported("mit").segmentor.model
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainable = [parameter.requires_grad for parameter in model.parameters()]
    stream_graphs(model, (32, 32))
    assert model.training
    assert trainable == [parameter.requires_grad for parameter in model.parameters()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()


@pytest.mark.parametrize(
    "spec, arguments, message",
    [
        (StreamSpec(frame_offsets=(-3,)), {}, "takes 3 reference frames, got .*-3"),
        (StreamSpec((-9, -6, -3), class_names=("a", "b")), {}, "6 classes, got 2"),
        (StreamSpec((-9, -6, -3)), {"formats": ("onxx",)}, "onnx, torch_export.*onxx"),
        (StreamSpec((-9, -6, -3)), {"formats": ()}, "onnx, torch_export"),
        (StreamSpec((-9, -6, -3)), {"size": (0, 64)}, "height and width"),
        (StreamSpec((-9, -6, -3)), {"opset": 17}, "18 or higher, got 17"),
    ],
)
def test_what_does_not_fit_is_an_error(exported, tmp_path, spec, arguments, message):
    model = exported("mit").segmentor.model
    with pytest.raises(ValueError, match=message):
        export_stream(model, spec, tmp_path / "new", **({"size": (32, 32)} | arguments))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [({"frame_offsets": (3,)}, "negative"), ({"image_format": "GBR"}, "RGB")],
)
def test_a_spec_that_makes_no_sense_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        StreamSpec(**arguments)
