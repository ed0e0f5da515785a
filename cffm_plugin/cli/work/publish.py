"""What `cffm publish` does, with the arguments of ``cffm_plugin.cli.publish``."""

import argparse

from ...checkpoint import load_stored_config
from ...config import load_config
from ...hub import push_to_hub, save_pretrained
from .configs import log_to_terminal


def run(args: argparse.Namespace) -> None:
    log_to_terminal()
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
