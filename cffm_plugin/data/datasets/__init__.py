"""Datasets. Importing this registers the builtin ones and touches no disk."""

from .records import datasets_folder
from .vspw import load_vspw, register_vspw

__all__ = ["datasets_folder", "load_vspw", "register_vspw"]
