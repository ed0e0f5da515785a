#!/usr/bin/env python3
"""Makes or repairs the virtual environment that `make` uses. Standard library only.

Everything that is downloaded must have a hash that stands in requirements/, except what --torch and
--detectron2 name themselves. pip stays the one that Python brings.

Every step can be interrupted and repeated. A stamp, written last, holds a fingerprint of what was
installed, so that a call with nothing to do returns at once.
"""

import argparse
import hashlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
OLDEST_PYTHON = (3, 11)  # NumPy and matplotlib of the lock file need it
OFFICIAL_DETECTRON2 = "git+https://github.com/facebookresearch/detectron2.git"
HASH_ADVICE = """
What was found is not what requirements/ names, and it was not installed. If PIP_ARGS names an index
that builds torch itself, name torch and that index in TORCH instead (INSTALL.md). Otherwise the
index, a mirror or a proxy changed the file: use another one, and tell its keeper."""
CHECK = "import cv2, timm, torch, torchvision, detectron2.engine, cffm_plugin.modeling"


class InstallError(Exception):
    """pip could not install something. The message is ours; pip's own was printed."""


class Environment:
    """One virtual environment and the pip inside it."""

    def __init__(self, folder: Path, pip_args: list[str]):
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.pip_args = pip_args

    def works(self) -> bool:
        return self.python.exists() and self.succeeds("-m", "pip", "--version")

    def succeeds(self, *args: str) -> bool:
        result = subprocess.run([self.python, *args], capture_output=True, cwd=self.folder)
        return result.returncode == 0

    def pip_install(self, *args: str) -> None:
        """Raises InstallError."""
        # Errors reach the terminal as pip words them; progress does not.
        command = [str(self.python), "-m", "pip", "--disable-pip-version-check", "install"]
        command += ["--quiet", *self.pip_args, *args]
        said = ""
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as pip:
            try:
                for line in pip.stderr:
                    sys.stderr.write(line)
                    said += line
            except KeyboardInterrupt:
                pip.kill()
                raise
        if pip.returncode:
            advice = HASH_ADVICE if "hashes" in said.lower() else ""
            raise InstallError(f"Set-up stopped: {shlex.join(command)}{advice}")

    def install_locked(self, name: str, *args: str) -> None:
        """What requirements/NAME.txt names: these versions, and files with these hashes."""
        self.pip_install("--require-hashes", *args, "-r", str(REQUIREMENTS / f"{name}.txt"))

    def site_packages(self) -> Path:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        return Path(subprocess.check_output([self.python, "-c", code], text=True).strip())


def fingerprint(*choices: str) -> str:
    digest = hashlib.sha256("\0".join([*choices, str(ROOT)]).encode())
    for file in [*sorted(REQUIREMENTS.glob("*.txt")), ROOT / "setup.py", Path(__file__)]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def remove_half_installed(site_packages: Path) -> None:
    """An interrupted pip leaves packages without a RECORD, which it then takes for installed."""
    for info in site_packages.glob("*.dist-info"):
        if not (info / "RECORD").exists():
            shutil.rmtree(info)
    for leftover in site_packages.glob("~*"):
        shutil.rmtree(leftover, ignore_errors=True)


def install_detectron2(environment: Environment, choice: str, stamp: Path) -> None:
    """Install detectron2 unless it is there. ``choice``: "", "official" or a pip requirement."""
    if choice:
        requirement = OFFICIAL_DETECTRON2 if choice == "official" else choice
        environment.pip_install("--no-build-isolation", requirement)
        return
    site_packages = environment.site_packages()
    half_done = (site_packages / "detectron2").exists() and not (
        stamp.exists() or list(site_packages.glob("detectron2-*.dist-info"))
    )
    if not half_done and environment.succeeds("-c", "import detectron2"):
        return
    # The wheel is tagged for Python 3.10 because of its compiled part, which nothing here uses.
    with tempfile.TemporaryDirectory() as download:
        environment.install_locked(
            "detectron2",
            *("--no-deps", "--only-binary=:all:", "--python-version=3.10", "--target", download),
        )
        shutil.rmtree(Path(download) / "tools", ignore_errors=True)  # would shadow ours
        for compiled in (Path(download) / "detectron2").glob("_C*.so"):
            compiled.unlink()
        shutil.copytree(download, site_packages, dirs_exist_ok=True)
    stamp.touch()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--torch", default="", help="your own build of torch, as arguments for pip")
    parser.add_argument("--detectron2", default="", help='"official" or a pip requirement')
    parser.add_argument("--pip-args", default="", help="further arguments for pip install")
    return parser.parse_args()


def install_dependencies(environment: Environment, torch: str) -> None:
    """All but detectron2. ``torch``: what pip takes for it, or "" for the locked one."""
    environment.install_locked("build")
    print("Installing torch and torchvision (a few minutes the first time)", flush=True)
    if torch:
        environment.pip_install(*shlex.split(torch))
    else:
        environment.install_locked("torch")
    print("Installing the locked dependencies", flush=True)
    # What has no wheel is built by the locked setuptools, and by nothing downloaded on the way.
    environment.install_locked("lock", "--no-build-isolation")
    environment.install_locked("no-deps", "--no-deps")


def main() -> None:
    args = arguments()
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(
            f"Python {'.'.join(map(str, OLDEST_PYTHON))} or later is needed, this is "
            f"{sys.version.split()[0]}. Name another one: make setup PYTHON=python3.12"
        )
    environment = Environment(args.venv.resolve(), shlex.split(args.pip_args))
    stamp = environment.folder / "setup-complete"
    wanted = fingerprint(args.torch, args.detectron2)
    if stamp.exists() and stamp.read_text() == wanted and environment.python.exists():
        return

    if not environment.works():
        print(f"Making {environment.folder}", flush=True)
        shutil.rmtree(environment.folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", environment.folder], check=True)
    stamp.unlink(missing_ok=True)
    remove_half_installed(environment.site_packages())
    install_dependencies(environment, args.torch)
    print("Installing detectron2", flush=True)
    install_detectron2(environment, args.detectron2, environment.folder / "detectron2-complete")
    print("Installing cffm_plugin in editable mode", flush=True)
    environment.pip_install("--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    check = subprocess.run([environment.python, "-c", CHECK], cwd=ROOT)
    if check.returncode:
        torch = " with a torch and a torchvision that are made for each other" if args.torch else ""
        sys.exit(
            f"The environment does not import; remove {environment.folder} and try again{torch}."
        )
    stamp.write_text(wanted)
    print(f"Ready: {environment.folder}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted. Call it again to go on.")
    except InstallError as error:
        sys.exit(f"{error}\nCall it again to go on.")
    except subprocess.CalledProcessError as error:
        sys.exit(f"Set-up stopped: {shlex.join(map(str, error.cmd))}\nCall it again to go on.")
