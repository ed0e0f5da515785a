"""The documentation's files, written out as they stand on a page."""

import os
import re
from pathlib import Path

import warm_process

DOCS = Path(__file__).parents[1] / "docs"


def blocks_of(page):
    """A page's code blocks by the file name that their first line gives."""
    text = (DOCS / page).read_text()
    found = re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", text, re.DOTALL)
    assert len(found) == len(dict(found))
    return dict(found)


def command_of(page, script=r"\S+\.py"):
    """The arguments of the page's command that runs a script of the person's, the first one."""
    return re.search(rf"```bash\npython ({script}.*)\n", (DOCS / page).read_text())[1].split()


def run(folder, script, *arguments):
    """Run a script in a person's folder, on the CPU; its output."""
    environment = {
        "DETECTRON2_DATASETS": str(folder / "datasets"),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    result = warm_process.run([script, *arguments], cwd=folder, env=os.environ | environment)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout + result.stderr


def lines_of(text):
    return [line for line in text.splitlines() if line.strip()]
