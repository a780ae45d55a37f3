"""What the end of a command line means to its user: done, refused, stopped, or a fault."""

from __future__ import annotations

import re
import signal

from experiments.faults.warm import Ended
from waker.errors import BLEMISHED

DONE = {
    "train": r"^Finished: |finished before, at step",
    "quickstart": r"^Report: |^usage: ",
    "adapt": r"^Trained( before)?: ",
    "evaluate": r": \d+ episodes$",
    "compare": r"^Numbers: ",
    "report": r"^Report: ",
    "envs": r"\S",
}
"""Verb → what it says when it is done."""
_REFUSAL = re.compile(r"waker: (?!SIG|stopped|waiting for)")
GOOD = ("done", "refused", "stopped")
"""Verdicts that are no faults."""


def verdict(ended: Ended) -> str:
    """One of :data:`GOOD`, or what is wrong.

    ``done``: exit code 0 (or 3, but for a picture, say), and the verb says so. ``refused``: another exit code, and a
    line ``waker: …`` says why. ``stopped``: asked to, it stopped. Faults: a traceback anywhere; exit code 0 without the
    word; another code without a line; an end by a signal nobody sent; no end; processes left behind.
    """
    text = ended.out + ended.err
    if ended.code is None:
        return "hang"
    if "Traceback (most recent call last)" in text:
        return "traceback"
    if ended.code < 0 and not (ended.asked and ended.code == -signal.SIGTERM):
        return f"killed by {signal.Signals(-ended.code).name}"
    if ended.left:
        return "processes left"
    refusals = [line for line in ended.err.splitlines() if _REFUSAL.match(line)]
    if ended.asked and ended.code not in (0, BLEMISHED) and not refusals:
        return "stopped"
    verb = ended.argv[0] if ended.argv else ""
    if ended.code in (0, BLEMISHED):
        if {"-h", "--help"} & set(ended.argv):
            return "done" if "usage: " in ended.out else "exit 0 without a word"
        said = re.search(DONE.get(verb, r"\S"), ended.out + "\n" + ended.err, re.MULTILINE)
        return "done" if said else "exit 0 without a word"
    return "refused" if refusals else "failed without a line"


def told(ended: Ended) -> str:
    """The line that tells it: the last of a traceback, the refusal, or the last written."""
    lines = [line for line in (ended.out + "\n" + ended.err).splitlines() if line.strip()]
    refusals = [line for line in lines if line.startswith("waker: ")]
    if "Traceback (most recent call last)" in ended.err:
        after = ended.err.split("Traceback (most recent call last)")[-1].splitlines()
        where = [line.strip() for line in after if line.startswith("  File ") and "/waker" in line]
        last = next((line for line in reversed(after) if line and not line.startswith(" ")), "")
        return " ".join(f"{last} [{where[-1] if where else ''}]".split())[:400]
    return " ".join((refusals or lines or [""])[-1].split())[:400]
