"""The Python of GETTING_STARTED.md runs."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "GETTING_STARTED.md").read_text()


def test_the_module_alone_refines_a_clip_and_the_same_frame_by_frame():
    (code,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
        if "import CFFM\n" in block
    ]
    as_clip, frame_by_frame = code.replace("256", "16").replace("60, 107", "9, 11").split("*ref")
    found: dict = {}
    exec(as_clip, found)
    clip_result = found["refined"]
    exec(f"*ref{frame_by_frame}", found)
    assert clip_result.shape == (1, 16, 9, 11)
    assert (found["refined"] - clip_result).abs().max() < 1e-5
