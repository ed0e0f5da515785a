"""Code in a process of its own, with libraries missing."""

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]

# find_spec of a library that is not installed gives None, which the import statement then words.
_HIDE = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in {libraries!r}:
            return self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Hiding, sys.meta_path)
"""


def run_without(libraries, *pieces):
    """Run pieces of code, one after another, as if some libraries were not installed."""
    hide = _HIDE.format(libraries=tuple(libraries))
    code = "\n".join([hide, *map(textwrap.dedent, pieces)])
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
