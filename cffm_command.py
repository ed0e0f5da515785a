"""The command ``cffm``: its table of commands, and nothing that takes time to import.

It stands beside the package, not in it, because importing anything of the package imports torch.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence

# Command -> (module with main(argv), the script in tools/ that is the same, what it does).
COMMANDS: dict[str, tuple[str, str, str]] = {
    "train": ("cffm_plugin.cli.train", "train_net", "train a segmentor, in one process or several"),
    "evaluate": ("cffm_plugin.cli.evaluate", "", "score a model on a dataset"),
    "demo": ("cffm_plugin.cli.demo", "demo", "segment videos, images or a camera, in colours"),
    "predict": ("cffm_plugin.cli.predict", "", "segment videos into label maps"),
    "segment-videos": ("cffm_plugin.cli.segment_videos", "segment_videos", "segment many videos"),
    "frames": ("cffm_plugin.cli.frames", "", "write the frames of videos as pictures"),
    "score": ("cffm_plugin.cli.score", "evaluate_predictions", "score prediction PNGs"),
    "report": ("cffm_plugin.cli.report", "report", "compare evaluations, in a browser"),
    "web": ("cffm_plugin.web.app", "web_demo", "a web page that segments videos"),
    "visualize": ("cffm_plugin.video.visualize_data", "visualize_data", "see what is trained on"),
    "check": ("cffm_plugin.cli.check", "check_vspw", "find what is broken in a dataset"),
    "synthetic": ("cffm_plugin.cli.synthetic", "make_synthetic_vspw", "write a synthetic dataset"),
    "pseudo-label": ("cffm_plugin.cli.pseudo_label", "pseudo_label", "label videos with a model"),
    "prototypes": ("cffm_plugin.cli.prototypes", "make_prototypes", "make CFFM++'s prototypes"),
    "convert": ("cffm_plugin.cli.convert", "convert_checkpoint", "make ours of a published file"),
    "publish": ("cffm_plugin.cli.publish", "publish", "weights, config and model card, on the hub"),
    "export": ("cffm_plugin.cli.export", "export_model", "write ONNX and torch.export graphs"),
    "compare": ("cffm_plugin.cli.compare", "compare", "train configs over seeds, in one table"),
    "benchmark": ("cffm_plugin.cli.benchmark", "benchmark", "measure how fast a model is"),
    "quickstart": ("cffm_plugin.cli.quickstart", "quickstart", "all of it, small, in minutes"),
    "make-demo": ("cffm_plugin.cli.make_demo", "make_demo", "train a small model on CamVid"),
    "soak": ("cffm_plugin.cli.soak", "soak", "see whether memory grows over a long run"),
    "scaling": ("cffm_plugin.cli.scaling", "scaling", "see how time and memory grow"),
    "kill-training": ("cffm_plugin.cli.kill_training", "kill_training", "kill, resume, compare"),
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
    return importlib.import_module(COMMANDS[command][0]).main(rest) or 0


def help_text() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {line}" for name, (_, _, line) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: cffm COMMAND ...",
            "",
            "Video semantic segmentation with CFFM, for Detectron2. Commands:",
            "",
            *lines,
            "",
            "cffm COMMAND --help shows a command's flags; cffm --version the version.",
        ]
    )


def unknown_text(command: str) -> str:
    of_scripts = {script: name for name, (_, script, _) in COMMANDS.items() if script}
    stem = command.rpartition("/")[2].removesuffix(".py")
    if stem in of_scripts:
        return f"There is no command {command}; that script is: cffm {of_scripts[stem]}"
    near = difflib.get_close_matches(command, list(COMMANDS), n=3, cutoff=0.5)
    advice = f"Did you mean {' or '.join(near)}?" if near else "cffm --help lists all commands."
    return f"There is no command {command}. {advice}"


if __name__ == "__main__":
    sys.exit(main())
