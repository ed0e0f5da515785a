"""Scripts in processes of their own, forked from one that has torch and detectron2 imported.

Importing them takes a process four seconds before its first line. What a test says of imports, of
the interpreter or of an installed command needs a process of ``subprocess`` instead.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = Path(__file__).parent
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["detectron2.engine", "timm", "cv2", "tensorboard"])


class WarmProcess:
    """A Python script that runs, as ``subprocess.Popen`` would run it.

    Args:
        arguments: of Python: the script's file or ``-m`` and a module, and its own arguments.
        cwd: where it runs.
        env: all of its environment; by default this process's.
        start_new_session: so that a signal to its group reaches its children too.
    """

    def __init__(self, arguments, *, cwd=ROOT, env=None, start_new_session=False):
        self.args = [str(argument) for argument in arguments]
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        for output in self._outputs:
            output.touch()
        environment = dict(os.environ if env is None else env)
        settings = (str(cwd), environment, start_new_session, [str(o) for o in self._outputs])
        self._process = _CONTEXT.Process(target=_run, args=(self.args, *settings))
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    @property
    def stdout(self):
        """What it has printed so far."""
        return self._outputs[0].read_text()

    @property
    def stderr(self):
        return self._outputs[1].read_text()

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def finish(self, timeout=600):
        """Wait for its end: a ``subprocess.CompletedProcess``."""
        code = self.wait(timeout)
        return subprocess.CompletedProcess(self.args, code, self.stdout, self.stderr)

    def send_signal(self, number):
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self):
        self._process.kill()


def run(arguments, *, cwd=ROOT, env=None, timeout=600):
    """Run a Python script to its end, as ``subprocess.run`` would.

    Args:
        arguments, cwd, env: as of ``WarmProcess``.
        timeout: seconds.
    """
    process = WarmProcess(arguments, cwd=cwd, env=env)
    try:
        return process.finish(timeout)
    finally:
        process.kill()


def _run(arguments, folder, environment, start_new_session, outputs):
    """What the process does."""
    if start_new_session:
        os.setsid()
    for number, output in enumerate(outputs, start=1):
        file = os.open(output, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    is_module = arguments[0] == "-m"
    script = arguments[1 if is_module else 0]
    folder = os.getcwd() if is_module else str(Path(script).resolve().parent)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    installed = [path for path in sys.path if path and Path(path) not in (ROOT, TESTS)]
    sys.path[:] = [folder, *paths, *installed]
    sys.argv[:] = arguments[is_module:]
    if is_module:
        runpy.run_module(script, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(script, run_name="__main__")
