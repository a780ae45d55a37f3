"""The verbs of the command line, one module each; :mod:`waker.cli` dispatches to them.

Every module has ``command(argv) -> int``: it parses its own arguments and returns the exit code.
"""
