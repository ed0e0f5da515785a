#!/usr/bin/env python3
"""Makes requirements/*.txt, exact versions and hashes, from their inputs, requirements/*.in.

Standard library only.

Versions that stand in the files stay, unless --upgrade or --upgrade-package says otherwise. Set-up
checks every download against these hashes: look at what changed before it is committed.
detectron2.txt and no-deps.txt are written by hand.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path("requirements")
# Every Python from this one on, and every platform, is served by the same files.
OPTIONS = shlex.split(
    "--universal --python-version 3.11 --fork-strategy fewest --generate-hashes "
    "--no-emit-index-url --annotation-style line --quiet"
)
# Input -> options of its own. Each file keeps to the versions of those before it.
FILES: dict[str, list[str]] = {
    "uv": [],
    "build": [],
    # What lock.in says of a version holds for what torch brings too.
    "torch": [
        *("--constraints", "requirements/build.txt"),
        *("--constraints", "requirements/lock.in"),
    ],
    "lock": [
        *("--constraints", "requirements/build.txt", "--constraints", "requirements/torch.txt"),
        *("--excludes", "requirements/torch.in"),
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upgrade", action="store_true", help="the newest of everything")
    parser.add_argument("--upgrade-package", action="append", default=[], metavar="NAME")
    parser.add_argument("--pip-args", default="", help="further arguments for pip install")
    args = parser.parse_args()

    upgrades = ["--upgrade"] if args.upgrade else []
    upgrades += [f"--upgrade-package={name}" for name in args.upgrade_package]
    with tempfile.TemporaryDirectory() as folder:
        print("Installing uv into a folder of its own", flush=True)
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        install = [python, "-m", "pip", "install", "--quiet", "--require-hashes"]
        subprocess.run(
            [*install, *shlex.split(args.pip_args), "-r", FOLDER / "uv.txt"], check=True, cwd=ROOT
        )
        for name, options in FILES.items():
            print(f"Writing {FOLDER / name}.txt", flush=True)
            command = [python, "-m", "uv", "pip", "compile", FOLDER / f"{name}.in", *OPTIONS]
            command += ["--custom-compile-command", "make lock", *options, *upgrades]
            subprocess.run([*command, "-o", FOLDER / f"{name}.txt"], check=True, cwd=ROOT)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"Stopped: {shlex.join(map(str, error.cmd))}")
