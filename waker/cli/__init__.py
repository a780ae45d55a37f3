"""The ``waker`` command: a thin face, one module of :mod:`waker.cli.verbs` a verb.

This module only finds the verb and turns what went wrong into one line on standard error. A verb's module is
imported when it is asked for, so that ``waker --help`` does not wait for torch.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from waker.errors import BLEMISHED, Ended, UserError, too_large, unknown
from waker.names import printable
from waker.terminal.output import degrade_output
from waker.terminal.startup import follow, guard, leave, watch_exit

Command = Callable[[list[str]], int]
_UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
_UNUSABLE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
"""What the system says of a path that was asked for and cannot be one."""


class Verb(NamedTuple):
    """One verb: the line ``waker --help`` shows, and an example."""

    summary: str
    example: str


VERBS: dict[str, Verb] = {
    "quickstart": Verb("WAKER-M and DR side by side on GridHazards: table and report", "waker quickstart"),
    "train": Verb("explore, learn a world model, choose environments, imagine policies", "waker train --preset laptop"),
    "sweep": Verb(
        "all runs of a study file: made, gone on with, and their rows kept", "waker sweep study.yaml --jobs 2"
    ),
    "adapt": Verb("train policies for (new) tasks from a run's model and replay alone", "waker adapt RUN"),
    "ask": Verb("pairs of a run's segments to compare, as a file and as a page", "waker ask RUN --queries 25"),
    "answer": Verb("put a person's or a simulated teacher's answers into it", "waker answer queries.parquet"),
    "audit": Verb(
        "what a learned reward pays for, by named features; a page", "waker audit RUN --features features.py"
    ),
    "evaluate": Verb("measure task policies and the world model of finished runs", "waker evaluate RUN"),
    "compare": Verb("one table of several runs, by sampler and task", "waker compare runs/gridhazards"),
    "scaling": Verb("asymptote and efficiency of reward against compute", "waker scaling runs/gridhazards"),
    "report": Verb("one self-contained HTML page of one or more runs", "waker report runs/gridhazards"),
    "metrics": Verb("what a metric, a column or a quantity means", "waker metrics credit"),
    "envs": Verb("list the environments, or describe one and its parameters θ", "waker envs waker/GridHazards-v0"),
}


def usage() -> str:
    """What ``waker --help`` prints."""
    width = max(map(len, VERBS))
    lines = ["usage: waker VERB [OPTIONS]", "", "Reward-free curricula for robust world models.", "", "verbs:"]
    lines += [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    lines += ["", "examples:"]
    lines += [f"  {verb.example}" for verb in VERBS.values()]
    lines += ["", "`waker VERB --help` shows a verb's options and their defaults; `waker --version` the version."]
    return "\n".join(lines)


def _line(message: object) -> str:
    """A message as one line, whatever names are in it."""
    return printable(" ".join(str(message).split()))


def _of_system(error: OSError) -> str:
    """What the system says, and about which file."""
    where = f": {printable(error.filename, 200)}" if isinstance(error.filename, str | bytes) and error.filename else ""
    return f"{_line(error.strerror)}{where}"


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        from waker import __version__

        print(f"waker {__version__}")
        return 0
    if argv[0] not in VERBS:
        raise unknown("verb", argv[0], VERBS)
    module = importlib.import_module(f"waker.cli.verbs.{argv[0]}")
    return int(module.command(argv[1:]))


def main(argv: Sequence[str] | None = None, command: Command | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments after ``waker``; None = the process's own.
        command: what to do with them, for a script that has its own; None = the verb that they begin with.

    Returns:
        The exit code: 0 done; 3 done but for something that failed or is lost, which was told and left out (a picture,
        damaged rows); 2
        something that was asked for does not exist, does not fit, or failed (an environment, say), told in one line; 1
        a file could not be written; 130 and 143 stopped by Ctrl-C and SIGTERM.
    """
    degrade_output()
    from waker.terminal.notices import told_warnings
    from waker.terminal.slow_calls import watched

    with watched(), told_warnings() as told:
        code = _guarded(sys.argv[1:] if argv is None else argv, command or _dispatch)
    return BLEMISHED if code == 0 and told.blemishes else code


def _guarded(argv: Sequence[str], command: Command) -> int:
    """The exit code of a command; whatever it raises that its user can mend, or stopped it with, becomes one line."""
    from waker_envs.foreign import Stop, by_signal, foreign  # loads plug-ins

    before = Stop.raised
    try:
        with foreign("", _stray, (Exception, KeyboardInterrupt)):  # without a name, as nobody waits for all of it
            return _told(argv, command)
    except KeyboardInterrupt as error:
        if not by_signal(error):
            return _say("some code raised KeyboardInterrupt, and nobody had pressed Ctrl-C")
        return _say("stopped", 128 + (error.number if isinstance(error, Stop) else signal.SIGINT))
    except UserError as error:
        return _say(error)
    except BrokenPipeError:
        # The reader of our output has gone (`waker envs | head`): nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        if Stop.raised != before:
            return _say("stopped", 128 + signal.SIGINT)  # some code has made another error of it
        if isinstance(error, OSError) and error.errno in _UNWRITTEN:
            return _say(f"{_of_system(error)}; what was saved before is whole", 1)
        if isinstance(error, OSError) and error.errno in _UNUSABLE:
            return _say(_of_system(error))
        if (told := too_large(error)) is not None:
            return _say(f"{told}; what was saved before is whole")
        if not _in_foreign_code(error):
            raise
        return _say(_stray(error))


def _in_foreign_code(error: BaseException) -> bool:
    """Whether an error comes from another package's environment, sampler or explorer, through an unguarded call."""
    from importlib.metadata import entry_points

    from waker_envs.registry import foreign_packages

    points = [*entry_points(group="waker.curricula"), *entry_points(group="waker.explorers")]
    packages = foreign_packages() | {point.value.split(":")[0].split(".")[0] for point in points}
    frame = error.__traceback__
    while frame is not None:
        if str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0] in packages:
            return True
        frame = frame.tb_next
    return False


def _told(argv: Sequence[str], command: Command) -> int:
    """The exit code of a command, where it ends by itself or with one of our own errors."""
    from waker.storage.files import SaveFailed

    # waker_envs raises its own ValueErrors (it never imports waker); both kinds are the user's business.
    from waker_envs import ThetaError, UnknownEnvError, UnknownTaskError

    try:
        return command(list(argv))
    except (UserError, ThetaError, UnknownEnvError, UnknownTaskError) as error:
        return _say(error, 1 if isinstance(error, SaveFailed) else 2)
    except Ended as ended:  # --help, or a run that was asked to stop and has saved
        return ended.exit_code


def _stray(error: BaseException) -> UserError:
    """What would end the process from a place where nobody expects it, a ``SystemExit`` above all."""
    from waker_envs.foreign import reason_of

    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f" in {frame.tb_frame.f_code.co_filename}, line {frame.tb_lineno}" if frame is not None else ""
    return UserError(f"stopped by an error{where}: {reason_of(error)}")


def _say(message: object, code: int = 2) -> int:
    print(f"waker: {_line(message)}", file=sys.stderr)
    return code


def run() -> None:
    """The console script: :func:`main`, then exit with its code."""
    guard()
    watch_exit()
    try:
        follow()
        code = main()
    except KeyboardInterrupt:  # between two lines of main itself
        code = _say("stopped", 128 + signal.SIGINT)
    leave(code)
    sys.exit(code)
