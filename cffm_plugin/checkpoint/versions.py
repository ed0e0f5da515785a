"""Versions of modules, by which they bring weights of older code to their present names.

A state dict carries them in an attribute, ``_metadata``, which a plain dict, a .safetensors file
and detectron2's matching of names lose. Mask2Former's head takes weights without a version for
those of its first code, and renames every one.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

_ATTRIBUTE = "_metadata"  # torch's
_OF_PARALLEL = "module."  # before every name, where DistributedDataParallel was saved


def versions_of(weights: Any) -> dict[str, dict[str, Any]]:
    """Module -> what its weights say of their version; empty where they say nothing."""
    said = getattr(weights, _ATTRIBUTE, None)
    if not isinstance(said, Mapping):
        return {}
    return {m: v for m, v in said.items() if isinstance(m, str) and isinstance(v, dict)}


def with_versions(
    weights: Mapping[str, Any], versions: Mapping[str, dict[str, Any]], model: nn.Module
) -> "OrderedDict[str, Any]":
    """Weights as a state dict with the versions that its file has, or else with the model's own.

    The model's are right where the names are the model's. A module with names that it does not
    have, or without some that it has, gets none: it may know them from an older version of itself.

    Args:
        weights: by names, in any mapping.
        versions: of ``versions_of``, under the same names.
        model: what they are for.
    """
    own = model.state_dict()
    other = _modules_of_other_names(weights, own)
    known = {module: v for module, v in versions_of(own).items() if module not in other}
    whole = OrderedDict(weights)
    setattr(whole, _ATTRIBUTE, OrderedDict(known | dict(versions)))
    return whole


def renamed(
    weights: Mapping[str, Any], rename: Callable[[str], str]
) -> "tuple[dict[str, Any], dict[str, dict[str, Any]]]":
    """Weights, and their versions, under other names; without DistributedDataParallel's prefix."""
    versions = versions_of(weights)
    prefix = _OF_PARALLEL if all(name.startswith(_OF_PARALLEL) for name in weights) else ""
    modules = {m: v for m, v in versions.items() if f"{m}.".startswith(prefix)}
    return (
        {rename(name.removeprefix(prefix)): value for name, value in weights.items()},
        {rename(f"{m}.".removeprefix(prefix)).removesuffix("."): v for m, v in modules.items()},
    )


def _modules_of_other_names(theirs: Iterable[str], own: Iterable[str]) -> set[str]:
    modules = {name.rpartition(".")[0] for name in set(own).difference(theirs)}
    for name in set(theirs).difference(own):
        while name:  # every module that the name is in
            name = name.rpartition(".")[0]
            modules.add(name)
    return modules
