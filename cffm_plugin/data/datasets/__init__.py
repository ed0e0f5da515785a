"""Datasets. Importing this registers the builtin ones and touches no disk."""

from .vspw import datasets_folder, load_vspw, register_vspw

__all__ = ["datasets_folder", "load_vspw", "register_vspw"]
