"""What stands in requirements/."""

import re

from fresh_process import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REQUIREMENTS = ROOT / "requirements"
INSTALLED = ["build", "torch", "lock", "no-deps", "detectron2"]  # by set-up; uv by `make lock`
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries(name):
    """(requirement, its hashes) of every entry of requirements/NAME.txt."""
    text = re.sub(r"\s*#.*", "", (REQUIREMENTS / f"{name}.txt").read_text())
    for entry in text.replace("\\\n", " ").split("\n"):
        if not entry:
            continue
        yield Requirement(entry.split(" --hash")[0]), HASH.findall(entry)


def asked_for(name):
    """The requirements of requirements/NAME.in."""
    text = re.sub(r"\s*#.*", "", (REQUIREMENTS / f"{name}.in").read_text())
    return [Requirement(line) for line in text.split("\n") if line]


def locked_versions(**platform):
    """Name -> the version that set-up installs here, or on another platform, by markers' names."""
    found = [entry for name in INSTALLED for entry, _ in entries(name)]
    here = [r for r in found if r.marker is None or r.marker.evaluate(platform)]
    return {canonicalize_name(r.name): next(iter(r.specifier)).version for r in here}
