"""Where a checkpoint's weights are: under which key, and behind which prefix of their names."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from numpy import ndarray
from torch import Tensor

# Whose they are: detectron2's and ours; MMCV's, OpenMMLab's and Lightning's; plain training loops';
# pycls'; DeepSpeed's; others'.
WEIGHT_KEYS = (
    *("model", "state_dict", "model_state_dict", "model_state", "module", "network", "net"),
    *("weights", "params"),
)
AVERAGE_KEYS = (
    *("model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "ema", "params_ema"),
    *("averaged_model", "teacher"),
)
# Of what a file holds, in Python: the first of these keys that is there, or all of it.
WEIGHTS_OF_W = f"next((w[k] for k in {WEIGHT_KEYS} if k in w), w)"
_COMPILED = "_orig_mod."  # torch.compile's, wherever a module was compiled

logger = logging.getLogger(__name__)


def weights_in(loaded: Any, path: str | Path) -> Mapping[str, Any]:
    """The weights in what a file holds: a mapping of names to tensors (or NumPy arrays).

    Where a file has several, such as an average beside the weights, the log says which was taken.

    Args:
        loaded: of ``load_file``.
        path: for errors and logs.

    Raises:
        ValueError: there are none. The error names what there is, and says what to write.
    """
    found = _candidates(loaded)
    if not found:
        raise ValueError(_nothing_found(loaded, path))
    (keys, weights), *others = found.items()
    if others:
        logger.warning(
            "%s holds weights under %s; those of %s are taken. For others write a file of them: %s",
            path,
            ", ".join(map(".".join, found)),
            ".".join(keys),
            snippet(path, "w" + "".join(f"[{key!r}]" for key in others[0][0]), weights_only=True),
        )
    return weights


def snippet(path: str | Path, what: str, *, weights_only: bool) -> str:
    """Lines of Python that write a part of a file as a checkpoint of weights alone.

    Args:
        what: an expression of ``w``, what the file holds.
    """
    return (
        f"import torch; w = torch.load({str(path)!r}, map_location='cpu', "
        f"weights_only={weights_only}); torch.save({{'state_dict': {what}}}, 'weights.pth')"
    )


def prefix_of(names: Iterable[str], own: Iterable[str], path: str | Path) -> str:
    """What stands before the names of a model's weights: such as Lightning's "model.".

    Args:
        names: of a checkpoint's weights.
        own: the model's.
        path: for errors.

    Returns:
        "" where names are the model's as they are, or are not with any prefix either.

    Raises:
        ValueError: several fit equally well, as of a student and its teacher.
    """
    names, own = list(names), set(own)
    if own.intersection(names):
        return ""
    fitting: Counter[str] = Counter()
    for name in names:
        for end in (i + 1 for i, letter in enumerate(name) if letter == "."):
            if name[end:] in own:
                fitting[name[:end]] += 1
    best = [prefix for prefix, count in fitting.items() if count == max(fitting.values())]
    if len(best) > 1:
        selection = f"{{k: v for k, v in {WEIGHTS_OF_W}.items() if k.startswith({best[0]!r})}}"
        raise ValueError(
            f"{path} holds the model's weights {len(best)} times, under {', '.join(best)}. Write a "
            f"file of those that are meant: {snippet(path, selection, weights_only=True)}"
        )
    return best[0] if best else ""


def uncompiled(name: str) -> str:
    """A weight's name without what ``torch.compile`` puts into it."""
    return name.replace(_COMPILED, "")


def _candidates(loaded: Any) -> dict[tuple[str, ...], Mapping[str, Any]]:
    """Keys, one in another -> the weights there."""
    if _are_weights(loaded):
        return {(): loaded}
    if not isinstance(loaded, Mapping):
        return {}
    found: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for key in (*WEIGHT_KEYS, *AVERAGE_KEYS):
        inside = _candidates(loaded.get(key))
        found |= {(key, *inner): weights for inner, weights in inside.items()}
    return found


def _are_weights(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(name, str) and _is_numeric(v) for name, v in value.items())


def _is_numeric(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, ndarray) and value.dtype.kind in "biuf")


def _nothing_found(loaded: Any, path: str | Path) -> str:
    if not isinstance(loaded, Mapping):
        return f"{path} holds no state dict (a mapping of names to tensors), but {type(loaded)}"
    keys = [f"{key!r} ({type(value).__name__})" for key, value in list(loaded.items())[:8]]
    return (
        f"{path} holds no state dict (a mapping of names to tensors) under any key that is known: "
        f"{', '.join((*WEIGHT_KEYS, *AVERAGE_KEYS))}. It has {', '.join(keys) or 'nothing'}. Where "
        f"one of these holds the weights, write a file of them: "
        + snippet(path, 'w["KEY"]', weights_only=True)
    )
