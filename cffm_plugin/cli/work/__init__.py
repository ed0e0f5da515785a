"""What commands do: imported when their arguments are read."""

from ... import registration  # noqa: F401  (datasets by name, paths of the hub)
