"""Writes a model as a folder that others can load by name, and uploads it where asked.

    cffm publish published/ --weights output/cffm/model_final.pth --half \\
        --results output/cffm/inference/vspw_results.json --licence apache-2.0
    cffm publish published/ --push owner/repository     # a folder that was written before
    cffm publish published/ --weights model_final.pth --config-file config.yaml --push owner/name

The folder holds model.safetensors, config.yaml and a model card, README.md. What the card says of
scores comes from --results; without, it says that nothing was measured. Look at the card before you
upload. A new repository is private, unless --public.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from detectron2.utils.logger import setup_logger

from ..checkpoint import load_stored_config
from ..config import load_config
from ..errors import errors_as_messages
from ..hub import push_to_hub, save_pretrained
from ..stopping import stops_raised


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what to write, or what to upload")
    parser.add_argument("--weights", metavar="FILE", help="the checkpoint, as in MODEL.WEIGHTS")
    parser.add_argument(
        "--config-file",
        default="",
        metavar="FILE",
        help="or the name of a shipped one; without it: the config that the checkpoint carries",
    )
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
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys"
    )
    args = parser.parse_args(argv)
    if not args.weights and not args.push:
        parser.error("name --weights to write the folder, or --push to upload one, or both")
    of_writing = args.config_file or args.results or args.licence or args.half or args.opts
    if not args.weights and of_writing:
        parser.error("only --push goes without --weights: the folder is uploaded as it is")
    return args


def run(args: argparse.Namespace) -> None:
    for name in ("fvcore", "cffm_plugin"):
        setup_logger(name=name)
    if args.weights:
        words = [*args.opts, "MODEL.WEIGHTS", args.weights]
        cfg = (
            load_config(args.config_file, words) if args.config_file else load_stored_config(words)
        )
        save_pretrained(
            args.weights,
            cfg,
            args.folder,
            name=args.name or args.push or "",
            half=args.half,
            results=args.results,
            licence=args.licence,
            overwrite=args.overwrite,
        )
        size = sum(file.stat().st_size for file in args.folder.iterdir())
        print(f"Written to {args.folder}, {size / 1e6:.1f} MB; look at {args.folder / 'README.md'}")
    if args.push:
        print(f"Uploaded: {push_to_hub(args.folder, args.push, private=not args.public)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    args = parse_args(argv)
    with errors_as_messages(), stops_raised():
        run(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
