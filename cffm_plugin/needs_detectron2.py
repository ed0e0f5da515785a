"""Imported first by every part that needs detectron2: raises an error that says how to get it."""

from .libraries import check_detectron2

check_detectron2()
