"""``python -m cffm_plugin.report``: what tools/report.py does."""

from ..stopping import stops_raised
from .command import main

if __name__ == "__main__":
    with stops_raised():
        main()
