#!/usr/bin/env python3
"""Runs cffm_plugin/export/onnx_runner.py, which works where torch is not installed.

python tools/run_onnx_stream.py --model exported/ --input video.mp4 --output masks/
"""

import runpy
from pathlib import Path

if __name__ == "__main__":
    # By its path: importing the package would import torch.
    runner = Path(__file__).resolve().parents[1] / "cffm_plugin" / "export" / "onnx_runner.py"
    runpy.run_path(str(runner), run_name="__main__")
