"""A disk on which no file grows beyond a size, as one that is nearly full."""

import resource
from contextlib import contextmanager


@contextmanager
def files_at_most(size):
    """Meanwhile, the system answers "File too large" to what goes beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
