"""The command ``cffm``: its table of commands, and nothing that takes time to import.

It imports nothing of the package before it knows the command, and then that command's module alone.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence

# Command -> what it does; the module of its name in cffm_plugin.cli has main(argv).
COMMANDS: dict[str, str] = {
    "train": "train a segmentor, in one process or several",
    "evaluate": "score a model on a dataset",
    "demo": "segment videos, images or a camera, in colours",
    "predict": "segment videos into label maps",
    "segment-videos": "segment many videos",
    "frames": "write the frames of videos as pictures",
    "score": "score prediction PNGs",
    "report": "compare evaluations, in a browser",
    "web": "a web page that segments videos",
    "visualize": "see what is trained on",
    "check": "find what is broken in a dataset",
    "synthetic": "write a synthetic dataset",
    "pseudo-label": "label videos with a model",
    "prototypes": "make CFFM++'s prototypes",
    "convert": "make ours of a published file",
    "publish": "weights, config and model card, on the hub",
    "export": "write ONNX and torch.export graphs",
    "compare": "train configs over seeds, in one table",
    "benchmark": "measure how fast a model is",
    "quickstart": "all of it, small, in minutes",
    "make-demo": "train a small model on CamVid",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command with these arguments, by default the process's own.

    Returns:
        the exit code: the command's; 2 for a command that there is not.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if words[0] == "--version":
        print(f"cffm-plugin {importlib.import_module('cffm_plugin').__version__}")
        return 0
    command, *rest = words
    if command not in COMMANDS:
        print(unknown_text(command), file=sys.stderr)
        return 2
    sys.argv = [f"cffm {command}", *rest]  # what help and logs call the program
    module = importlib.import_module(f"cffm_plugin.cli.{command.replace('-', '_')}")
    return module.main(rest) or 0


def help_text() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {line}" for name, line in COMMANDS.items()]
    return "\n".join(
        [
            "usage: cffm COMMAND ...",
            "",
            "Video semantic segmentation: CFFM, and any image segmentor on video. Commands:",
            "",
            *lines,
            "",
            "cffm COMMAND --help shows a command's flags; cffm --version the version.",
        ]
    )


def unknown_text(command: str) -> str:
    near = difflib.get_close_matches(command, list(COMMANDS), n=3, cutoff=0.5)
    advice = f"Did you mean {' or '.join(near)}?" if near else "cffm --help lists all commands."
    return f"There is no command {command}. {advice}"


if __name__ == "__main__":
    sys.exit(main())
