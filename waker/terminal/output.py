"""Output on terminals and pipes that cannot show every character: degraded, never an error. Called by every command.

Help, tables and messages use θ, dashes and arrows. A stream of another encoding than UTF-8 gets plain letters in their
place, and a question mark for what has none (a name in another script).
"""

from __future__ import annotations

import codecs
import io
import sys

_HANDLER = "waker.plain"
_PLAIN = {
    "θ": "theta",
    "Θ": "Theta",
    "γ": "gamma",
    "η": "eta",
    "λ": "lambda",
    "σ": "sigma",
    "π": "pi",
    "Σ": "sum",
    "∈": "in",
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "·": "-",
    "×": "x",
    "≥": ">=",
    "≤": "<=",
    "→": "->",
    "↓": "v",
    "√": "sqrt",
    "∞": "inf",
    "²": "2",
    "‖": "||",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "₀": "0",
    "₁": "1",
    "⁻": "-",
    "│": "|",
    "─": "-",
    "╭": "+",
    "╮": "+",
    "╰": "+",
    "╯": "+",
}


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for characters that an encoding does not have; see :func:`codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    # What is returned must fit itself: these are ASCII.
    return "".join(_PLAIN.get(character, "?") for character in missing), error.end


codecs.register_error(_HANDLER, _plain)


def degrade_output() -> None:
    """Let standard output and standard error write whatever they are given."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.closed and stream.errors != _HANDLER:
            stream.reconfigure(errors=_HANDLER)
