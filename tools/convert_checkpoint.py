#!/usr/bin/env python3
"""Converts a published checkpoint into one for this package's configs.

The format is recognised from the names inside: official CFFM checkpoints, SegFormer's ImageNet
encoder files. Every weight is used or named as left out, and the result is proved by a strict load.

    python tools/convert_checkpoint.py cffm_b1.pth converted/cffm_mit_b1.pth
"""

import argparse
import sys
from pathlib import Path

import torch

from cffm_plugin.checkpoint import convert, read_state_dict, verify_complete


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path, help="the published file")
    parser.add_argument("output", type=Path, help="what to write; use it as MODEL.WEIGHTS")
    args = parser.parse_args()
    try:
        conversion = convert(read_state_dict(args.input))
        parameters = verify_complete(conversion.weights)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"{args.input}: {error}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": conversion.weights}, args.output)

    print(f"{args.input}: {conversion.source}")
    print(f"{len(conversion.weights)} tensors converted, {parameters / 1e6:.2f} M parameters")
    for reason in sorted(set(conversion.dropped.values())):
        names = [name for name, why in conversion.dropped.items() if why == reason]
        print(f"{len(names)} left out, {reason}: {names[0]}{', ...' if len(names) > 1 else ''}")
    print(f"Written to {args.output}, complete for a strict load")


if __name__ == "__main__":
    main()
