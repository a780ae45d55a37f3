"""Several commands side by side, one core each, with the newest line of each; for ``waker quickstart``."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from types import FrameType

from rich.live import Live
from rich.table import Table
from rich.text import Text

from waker.names import printable
from waker.terminal.children import environment_of_child
from waker.terminal.console import Console
from waker.terminal.progress import EVERY_VARIABLE

_KEPT = 20
"""Last lines of a command that are shown when it fails."""


class _Signals:
    """Pass Ctrl-C and SIGTERM on to the commands, which save and stop; a second one ends them at once."""

    def __init__(self, children: Sequence[subprocess.Popen[str]]) -> None:
        self.children = children
        self.received = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._forward)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _forward(self, number: int, frame: FrameType | None) -> None:
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGKILL if self.received else number)
        self.received = self.received or number


def _read(name: str, child: subprocess.Popen[str], lines: queue.Queue[tuple[str, str | None]]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip():
            lines.put((name, line.rstrip()))
    lines.put((name, None))


def _rows(newest: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, line in newest.items():
        table.add_row(Text(printable(name), style="bold"), Text(printable(line)))
    return table


def side_by_side(commands: Mapping[str, Sequence[str]], console: Console | None = None) -> dict[str, int]:
    """Run commands at the same time, one thread each, and show how they get on. They end when this process is killed.

    On a terminal one row a command shows its newest line; elsewhere every line is printed behind the command's name.

    Args:
        commands: name → command.
        console: where to show it; None = standard output.

    Returns:
        name → exit code; a command stopped by a signal that this process received has 128 + that signal.
    """
    console = console or Console()
    lines: queue.Queue[tuple[str, str | None]] = queue.Queue()
    shown = {EVERY_VARIABLE: "1"} if console.is_terminal else {}
    children = {
        name: subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            # Between the two of us, whatever this process's own output can show.
            encoding="utf-8",
            errors="replace",
            env={**environment_of_child(), **shown, "PYTHONIOENCODING": "utf-8"},
            # A group of its own: Ctrl-C reaches it once, through _Signals, and not a second time from the terminal.
            process_group=0,
        )
        for name, command in commands.items()
    }
    newest = dict.fromkeys(commands, "starting …")
    tails: dict[str, list[str]] = {name: [] for name in commands}
    running = set(commands)
    width = max(map(len, commands))
    with _Signals(list(children.values())) as signals:
        for name, child in children.items():
            threading.Thread(target=_read, args=(name, child, lines), daemon=True).start()
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while running:
                name, line = lines.get()
                if line is None:
                    running.discard(name)
                    continue
                newest[name] = line
                tails[name] = [*tails[name][-_KEPT:], line]
                if console.is_terminal:
                    live.update(_rows(newest), refresh=True)
                else:
                    console.out(printable(f"{name:<{width}} | {line}"), highlight=False)
        codes = {name: child.wait() for name, child in children.items()}
    for name, code in codes.items():
        if code and not signals.received and console.is_terminal:
            for line in tails[name]:
                print(printable(f"{name:<{width}} | {line}"), file=sys.stderr)
    if signals.received:
        return {name: 128 + signals.received if code else 0 for name, code in codes.items()}
    return codes
