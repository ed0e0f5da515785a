"""Reference numbers of the official implementation, and the weights and inputs they belong to.

No weights are stored: every tensor is a function of its official name and shape.
"""

import json
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor

from cffm_plugin.checkpoint import find_rule, recognise
from cffm_plugin.config import load_config

FOLDER = Path(__file__).parent / "golden"


def load_json(name: str):
    return json.loads((FOLDER / f"{name}.json").read_text())


def load_arrays(name: str) -> dict[str, Tensor]:
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def normal(seed: int, shape) -> Tensor:
    """Standard normal input, float32."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


def weight(name: str, shape) -> Tensor:
    z = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF).standard_normal(shape)
    if name.endswith(".A_log"):
        z = np.log(1 + np.arange(shape[-1])) + 0.1 * z
    elif name.endswith("dt_proj.bias"):
        z = z - 4.5
    elif name.endswith(".running_mean"):
        z = 0.1 * z
    elif name.endswith(".running_var"):
        z = 0.5 + np.abs(z)
    elif "relative_position_bias_table" in name:
        z = 0.5 * z
    elif name.endswith(".bias"):
        z = 0.1 * z
    elif len(shape) == 1:
        z = 1 + 0.1 * z
    else:
        z = z / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(z, dtype=np.float32))


def is_integer(name: str) -> bool:
    return "relative_position_index" in name or name.endswith(
        ("valid_ind_rolled", "num_batches_tracked")
    )


def state_dict(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """The deterministic official checkpoint with these names and shapes."""
    return {
        name: torch.zeros(shape, dtype=torch.int64) if is_integer(name) else weight(name, shape)
        for name, shape in shapes.items()
    }


def official_checkpoint(variant: str) -> dict[str, Tensor]:
    return state_dict(load_json(f"official_state_dict_{variant}"))


def official_names(variant: str) -> dict[str, str]:
    """Our name -> official name, of every tensor that is converted."""
    return names_in(load_json(f"official_state_dict_{variant}"))


def names_in(official: Iterable[str]) -> dict[str, str]:
    """Our name -> official name, of every tensor of a checkpoint that is converted."""
    names = {}
    for name in official:
        found = find_rule(name, recognise(official))
        assert found is not None, name
        names.update(dict.fromkeys(found[1], name))
    return names


def labels(case) -> Tensor:
    """(B, T, H, W) int64, as the reference run drew them: 8 x 8 blocks, a tenth of them void."""
    B, T, _, height, width = case["shape"]
    random = np.random.RandomState(case["label_seed"])
    cells = random.randint(0, 124, (B, T, 1, height // 8, width // 8))
    cells[random.rand(*cells.shape) < 0.1] = 255
    maps = torch.from_numpy(cells).squeeze(2)
    return maps.repeat_interleave(8, dim=-2).repeat_interleave(8, dim=-1)


def config(name: str, *overrides: str) -> CfgNode:
    """A shipped config of VSPW, for inputs that are already normalised, on the CPU."""
    fixed = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", ""]
    fixed += ["MODEL.PIXEL_MEAN", "[0.0, 0.0, 0.0]", "MODEL.PIXEL_STD", "[1.0, 1.0, 1.0]"]
    file = FOLDER.parents[1] / "configs" / "vspw" / f"{name}.yaml"
    return load_config(str(file), [*fixed, *overrides])
