"""The console of every command: rich's, but that a reader who has gone is an error like any other.

rich ends the process by itself there; :func:`waker.cli.main` ends every command in its own way.
"""

from __future__ import annotations

import rich.console


class Console(rich.console.Console):
    """A console whose closed pipe is a ``BrokenPipeError``."""

    def on_broken_pipe(self) -> None:
        """Called while a ``BrokenPipeError`` is handled: let it go on."""
        raise
