"""What all commands share: flags, overrides, signals, errors and exit codes.

A command's module reads arguments, and imports nothing that takes time; the module of the same name
in ``work`` does the work, in ``run(args)``.

Exit codes: 0 done; 1 an error, said in a line; 2 the arguments are wrong; 130 Ctrl-C; 143 SIGTERM;
138 SIGUSR1. A command that has others says so in its help.
"""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import errors_as_messages
from ..stopping import stops_raised

INTERRUPTED = 130
GOES_ON = "The same command goes on from here."

_KEY = re.compile(r"[A-Z_]+(\.[A-Z0-9_]+)+")

Parse = Callable[[Sequence[str]], argparse.Namespace]


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser that shows a module's docstring as it is written."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def number(kind: Callable[[str], Any], is_right: Callable[[Any], bool], fault: str) -> Any:
    """A type of arguments, ``kind`` where ``is_right``; ``fault`` says of others what they are."""

    def read(text: str) -> Any:
        value = kind(text)
        if not is_right(value):
            raise argparse.ArgumentTypeError(f"{text} {fault}")
        return value

    read.__name__ = getattr(kind, "__name__", "number")  # what argparse calls it
    return read


def add_config_file(parser: argparse.ArgumentParser, without: str = "") -> None:
    """--config-file; ``without``: what holds where it is left out."""
    parser.add_argument(
        "--config-file", default="", metavar="FILE", help=f"or the name of a shipped one{without}"
    )


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """Detectron2's, of everything that runs in one process or several."""
    add_config_file(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint of OUTPUT_DIR"
    )
    parser.set_defaults(eval_only=False)  # the flag is of what trains
    parser.add_argument("--num-gpus", type=int, default=1, help="of this machine (%(default)s)")
    parser.add_argument("--num-machines", type=int, default=1, help="(%(default)s)")
    parser.add_argument(
        "--machine-rank", type=int, default=0, help="of this machine, from 0 (%(default)s)"
    )
    parser.add_argument(
        "--dist-url",
        default="auto",
        metavar="URL",
        help="where the processes meet, tcp://HOST:PORT; by default a free port of this machine",
    )
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Config keys, after all other arguments, with the word --opts or, as with detectron2, bare."""
    has_words = any(not action.option_strings for action in parser._actions)  # without a flag
    parser.add_argument(
        "opts",
        # What remains begins at the first word without a flag, which is the other one's.
        nargs="*" if has_words else argparse.REMAINDER,
        default=[],
        metavar="--opts KEY VALUE ...",
        help="config keys, after all other arguments, such as MODEL.WEIGHTS FILE; the word --opts "
        "may be left out where the argument before takes no more values",
    )


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, with --debug and what follows --opts."""
    parser.add_argument(
        "--debug", action="store_true", help="show where in the program an error comes from"
    )
    words, overrides = list(argv), list[str]()
    opts = next((action for action in parser._actions if action.dest == "opts"), None)
    if "--opts" in words and opts is not None:
        at = words.index("--opts")
        words, overrides = words[:at], words[at + 1 :]
    if opts is None or opts.nargs == argparse.REMAINDER:
        args = parser.parse_args(words)
    else:
        args = parser.parse_intermixed_args(words)
    if opts is not None:
        _check_swallowed(parser, args)
        args.opts = [*args.opts, *overrides]
    return args


def _check_swallowed(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with the parser's error where an argument of several values has taken a config key."""
    for action in parser._actions:
        values = getattr(args, action.dest, None)
        if not (action.option_strings and isinstance(values, list)):
            continue
        for word in map(str, values):
            if _KEY.fullmatch(word) and not os.path.exists(word):
                parser.error(
                    f"{action.option_strings[0]} has taken {word}, which looks like a config key. "
                    f"Keys come last, after the word --opts: --opts {word} ..."
                )


def command(parse_args: Parse, name: str, advice: str = "") -> Callable[..., int]:
    """The ``main(argv)`` of a command's module: runs it to its exit code.

    Args:
        parse_args: reads the arguments.
        name: of the module in ``work``.
        advice: printed where the command was stopped.
    """

    def main(argv: Sequence[str] | None = None) -> int:
        """Run the command with these arguments, by default the process's own; its exit code."""
        args = parse_args(sys.argv[1:] if argv is None else argv)
        try:
            with errors_as_messages(debug=args.debug), stops_raised(advice):
                work = importlib.import_module(f"{__package__}.work.{name}")
                return work.run(args) or 0
        except KeyboardInterrupt:
            print(f"\nInterrupted. {advice}".rstrip(), file=sys.stderr)
            return INTERRUPTED

    return main
