"""The commands: one module each, whose ``main(argv)`` reads its arguments and calls the package.

``cffm COMMAND`` (cffm_command.py, which has the table) and the scripts in tools/ call them.
"""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
