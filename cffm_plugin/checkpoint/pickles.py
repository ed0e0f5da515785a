"""Pickles of NumPy arrays, as detectron2's model zoo has them, read without running what they name.

A pickle names functions and calls them. Here it may name those that make NumPy arrays and plain
containers, and no others.
"""

import codecs
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np


def load_pickle(path: str | Path) -> Any:
    """
    Raises:
        pickle.UnpicklingError: it asks for more than NumPy arrays, containers, numbers and texts.
        Exception: of many kinds, where the file is no pickle.
    """
    with open(path, "rb") as file:
        return _PlainUnpickler(file, encoding="latin1").load()  # texts of Python 2


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get((module.replace("numpy._core", "numpy.core"), name))
        if allowed is None:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name} is not allowed")
        return allowed


def _bytes_of(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes, such as the numbers of an array."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"GLOBAL _codecs.encode with {encoding} is not allowed")
    return codecs.encode(text, "latin1")


def _array_maker(name: str) -> Any:
    """One of the functions that NumPy's own pickles name."""
    an_array = np.zeros(1)
    made_by = {
        "_reconstruct": an_array.__reduce__(),
        "_frombuffer": an_array.__reduce_ex__(5),
        "scalar": an_array[0].__reduce__(),
    }
    return made_by[name][0]


_ALLOWED = {
    ("_codecs", "encode"): _bytes_of,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
    ("builtins", "bytearray"): bytearray,
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): _array_maker("_reconstruct"),
    ("numpy.core.multiarray", "scalar"): _array_maker("scalar"),
    ("numpy.core.numeric", "_frombuffer"): _array_maker("_frombuffer"),
}
