"""The server of the page: what `cffm web` runs."""

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..video.demo_model import with_weights
from .limits import Limits
from .models import Models
from .page import CSS, build_page


@contextmanager
def served(args: argparse.Namespace) -> Iterator[Any]:
    """The page, being served meanwhile; afterwards its files are gone.

    Gives the ``gradio.Blocks``, whose ``local_url`` is its address.

    Args:
        args: of ``cffm_plugin.cli.web.parse_args``.

    Raises:
        FileNotFoundError, KeyError, ValueError: a model can't be used, see ``Models``.
        OSError: the port is taken.
        ModuleNotFoundError: gradio is not installed.
    """
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
