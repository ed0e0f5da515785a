"""The commands: one module each, whose ``main(argv)`` reads its arguments; ``work`` does the rest.

``cffm COMMAND`` (cffm_command.py, which has the table) calls them. They import nothing that takes
time, so that --help answers at once.
"""
