"""The server of the page: what tools/web_demo.py runs."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detectron2.utils.logger import setup_logger

from ..stopping import Stopped, stops_raised
from ..video.demo_model import with_weights
from .limits import Limits
from .models import Models
from .page import CSS, build_page

DESCRIPTION = """Serves a web page where people upload or record a video, and see the image
segmentor and the video segmentor side by side.

    cffm web --model model_final.pth --model other.pth other.yaml

It is seen on this machine alone, unless --host or --share says otherwise. Without --model: the
model of `make demo`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        argv: the arguments; by default those of the process.

    Returns:
        the exit code: 0 when it was asked to end, 1 after an error, which was printed.
    """
    args = parse_args(argv)
    try:
        with stops_raised(), served(args) as page:
            page.block_thread()
    except (KeyboardInterrupt, Stopped):
        return 0
    except (KeyError, ValueError, OSError, ImportError) as error:
        print(error.args[0] if isinstance(error, KeyError) else error, file=sys.stderr)
        return 1
    return 0


@contextmanager
def served(args: argparse.Namespace) -> Iterator[Any]:
    """The page, being served meanwhile; afterwards its files are gone.

    Gives the ``gradio.Blocks``, whose ``local_url`` is its address.

    Args:
        args: of ``parse_args``.

    Raises:
        FileNotFoundError, KeyError, ValueError: a model can't be used, see ``Models``.
        OSError: the port is taken.
        ModuleNotFoundError: gradio is not installed.
    """
    for name in ("fvcore", "cffm_plugin"):
        setup_logger(name=name)
    limits = Limits(args.max_mb, args.max_seconds, args.max_pixels)
    models = Models(args.model or [_default_model(args.opts)], args.opts)
    with (
        tempfile.TemporaryDirectory(prefix="cffm_web_", ignore_cleanup_errors=True) as folder,
        # gradio reads both when it is imported, built and served.
        _environment(GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_ENABLED="False"),
    ):
        page = build_page(models, limits, Path(folder))
        page.launch(
            server_name=args.host,
            server_port=args.port,
            share=args.share,
            max_file_size=int(args.max_mb * 1e6),
            ssr_mode=False,
            footer_links=[],
            css=CSS,
            quiet=True,
            prevent_thread_lock=True,
        )
        print(f"The page is at {page.share_url or page.local_url} (Ctrl-C ends it)", flush=True)
        try:
            yield page
        finally:
            page.close(verbose=False)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """These variables are set meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _default_model(overrides: Sequence[str]) -> list[str]:
    keys = with_weights(overrides)
    return [dict(zip(keys[::2], keys[1::2]))["MODEL.WEIGHTS"]]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of ``main``."""
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        nargs="+",
        action=_OneOrTwo,
        metavar=("WEIGHTS", "CONFIG"),
        help="a model to choose from; the config may be left out where the weights carry theirs",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (%(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="(%(default)s)")
    parser.add_argument(
        "--share", action="store_true", help="a public address, through gradio's servers"
    )
    parser.add_argument(
        "--max-mb", type=_positive, default=100.0, metavar="N", help="of a file (%(default)s)"
    )
    parser.add_argument(
        "--max-seconds", type=_positive, default=20.0, metavar="N", help="of a video (%(default)s)"
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=1920 * 1088,
        metavar="N",
        help="of a frame (%(default)s, which is 1920x1088)",
    )
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config keys for all models; after all other arguments",
    )
    return parser.parse_args(argv)


class _OneOrTwo(argparse.Action):
    """Appends one or two values."""

    def __call__(self, parser, namespace, values, option_string=None):
        if len(values) > 2:
            parser.error("--model WEIGHTS [CONFIG]: " + " ".join(values))
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), values])


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value
