"""``waker train``: one run from nothing, or from where it was stopped, to its evaluation."""

from __future__ import annotations

from waker.cli.settings import parse_settings
from waker.names import printable


def command(argv: list[str]) -> int:
    """Run ``waker train``."""
    args = parse_settings(argv, "train")
    # Only now torch is imported: a misspelt option should be told at once.
    from waker.machine.host_memory import keep_freed_memory
    from waker.machine.mkl_dispatch import tell_unless_done
    from waker.training.build import train_run
    from waker.training.loop import Outcome

    keep_freed_memory()
    tell_unless_done()
    outcome, folder = train_run(args.config, args.runs)
    if outcome is Outcome.FINISHED:
        print(printable(f"Finished: {folder} (`waker report {folder}` shows it)"))
    return 0
