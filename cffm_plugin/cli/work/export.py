"""What `cffm export` does, with the arguments of ``cffm_plugin.cli.export``."""

import argparse
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from detectron2.utils.logger import setup_logger

from ...engine import read_config
from ...export import StreamSpec, compare, export_stream, load_programs, random_frames
from ...export.onnx_runner import Stream, load_graphs, precision_of, read_manifest
from ...inference import StreamingSegmentor

# What is exported computes in float32.
IN_FLOAT32 = ("MODEL.DEVICE", "cpu", "TEST.AUTOCAST", "", "TEST.COMPILE", "False")
TOLERANCE = 1e-3
LABELS = 0.995  # that are equal, where a runtime computes in half precision


def run(args: argparse.Namespace) -> None:
    setup_logger(name="cffm_plugin")
    logging.getLogger("onnxscript").setLevel(logging.ERROR)  # names constants that it leaves alone
    cfg = read_config(args.config_file, [*args.opts, *IN_FLOAT32])
    spec = StreamSpec.from_config(cfg)
    segmentor = StreamingSegmentor(cfg, resize=None)  # frames are of --size already
    manifest = export_stream(
        segmentor.model,
        spec,
        args.output,
        tuple(args.size),
        formats=args.format,
        opset=args.opset,
        full_resolution=args.full_resolution,
    )
    print(f"Written to {manifest.parent}: {', '.join(file.name for file in files_of(manifest))}")
    if args.check and not check(segmentor, args):
        sys.exit(f"The exported graphs differ from the model by more than {TOLERANCE:g}.")


def check(segmentor: StreamingSegmentor, args: argparse.Namespace) -> bool:
    """Run every format on random frames beside the model; print how they agree."""
    manifest = read_manifest(args.output)
    agree = True
    for name, graphs in exported_graphs(args):
        branch = segmentor.model.prototype_branch
        prototypes = None if branch is None else torch.randn(100, branch.block.dim)
        frames = random_frames(tuple(args.size), args.check_frames)
        agreement = compare(segmentor, Stream(manifest, graphs), frames, prototypes)
        print(f"{name}: {agreement}")
        precision = precision_of(graphs)
        if precision == "float32":
            agree = agree and agreement.logits <= TOLERANCE
        elif agreement.labels < LABELS:
            print(
                f"In {precision} fewer than {100 * LABELS:g} % of the labels are the model's: run "
                "it with run_onnx_stream.py --runtime openvino --float32"
            )
    return agree


def exported_graphs(args: argparse.Namespace) -> Iterator[tuple[str, dict]]:
    if "onnx" in args.format:
        manifest = read_manifest(args.output)
        yield "onnx", load_graphs(args.output, manifest)
        if args.check_openvino:
            own = load_graphs(args.output, manifest, runtime="openvino")
            yield f"onnx, openvino in {precision_of(own)}", own
            if precision_of(own) != "float32":
                held = load_graphs(args.output, manifest, runtime="openvino", float32=True)
                yield "onnx, openvino --float32", held
    if "torch_export" in args.format:
        yield "torch_export", load_programs(args.output)


def files_of(manifest: Path) -> list[Path]:
    return sorted(file for file in manifest.parent.iterdir() if file.is_file())
