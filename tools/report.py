#!/usr/bin/env python3
"""Makes a folder of HTML of one evaluation or several, which opens from the disk.

    python tools/report.py --dataset camvid_val \\
        --predictions image=output/image cffm=output/cffm --output report

``--help`` says more, and so does docs/report.md.
"""

from cffm_plugin.report import main
from cffm_plugin.stopping import stops_raised

if __name__ == "__main__":
    with stops_raised():
        main()
