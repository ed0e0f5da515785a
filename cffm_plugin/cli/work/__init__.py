"""What commands do: imported when their arguments are read."""

from ... import needs_detectron2  # noqa: F401  (says how to get it)
