"""Writes a model as a folder that others can load by name, and uploads it where asked.

    cffm publish published/ --weights output/cffm/model_final.pth --half \
        --results output/cffm/inference/vspw_results.json --licence apache-2.0
    cffm publish published/ --push owner/repository     # a folder that was written before
    cffm publish published/ --weights model_final.pth --config-file config.yaml --push owner/name

The folder holds model.safetensors, config.yaml and a model card, README.md. What the card says of
scores comes from --results; without, it says that nothing was measured. Look at the card before you
upload. A new repository is private, unless --public.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import frame


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument("folder", type=Path, help="what to write, or what to upload")
    parser.add_argument("--weights", metavar="FILE", help="the checkpoint, as in MODEL.WEIGHTS")
    frame.add_config_file(parser, "; without it: the config that the checkpoint carries")
    parser.add_argument("--name", default="", help="in the card; by default that of the repository")
    parser.add_argument("--half", action="store_true", help="float16: half the size")
    parser.add_argument(
        "--results",
        nargs="+",
        type=Path,
        default=[],
        metavar="JSON",
        help="vspw_results.json of evaluations of these weights",
    )
    parser.add_argument(
        "--licence", default="", metavar="NAME", help="of the weights, such as apache-2.0"
    )
    parser.add_argument("--overwrite", action="store_true", help="write over a model in FOLDER")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload to this repository of the hub")
    parser.add_argument("--public", action="store_true", help="a new repository is public")
    frame.add_overrides(parser)
    args = frame.parse(parser, argv)
    if not args.weights and not args.push:
        parser.error("name --weights to write the folder, or --push to upload one, or both")
    writing_arguments = args.config_file or args.results or args.licence or args.half or args.opts
    if not args.weights and writing_arguments:
        parser.error("only --push goes without --weights: the folder is uploaded as it is")
    return args


main = frame.command(parse_args, "publish")
