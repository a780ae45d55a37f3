"""Write tests/slow.txt, what `make test-fast` leaves out, from the durations that pytest prints.

    make test PYTEST_ARGS="--durations=0 --durations-min=0.1" > log
    python scripts/slow_tests.py log --budget 60
    python scripts/slow_tests.py                   # no log: takes out the names of tests that are no more

Slow are the tests that take most of the time, as many as are needed for the others to stay within the budget: seconds
of one worker, by the times in the log. All cases of one function are slow together. Names are of tests that exist: a
log of another commit adds none that is gone.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "slow.txt"
_LINE = re.compile(r"([\d.]+)s (?:call|setup|teardown) +(\S+?::\w+)")


def durations(log: str) -> dict[str, float]:
    """Seconds of each test function, all its cases together, ``file::function``."""
    found: dict[str, float] = defaultdict(float)
    for seconds, name in _LINE.findall(log):
        found[name] += float(seconds)
    return dict(found)


def slow(seconds: dict[str, float], budget: float) -> list[str]:
    """The slowest functions without which the others take no more than ``budget`` seconds together."""
    left, chosen = sum(seconds.values()), []
    for name in sorted(seconds, key=lambda name: -seconds[name]):
        if left <= budget:
            break
        chosen.append(name)
        left -= seconds[name]
    return sorted(chosen)


def existing(names: Iterable[str]) -> list[str]:
    """Those names of test functions whose file defines them."""
    return [name for name in names if _exists(*name.split("::"))]


def _exists(file: str, function: str) -> bool:
    path = ROOT / file
    return path.is_file() and f"def {function}(" in path.read_text(encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, nargs="?", help="what pytest printed, with --durations=0")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of one worker")
    arguments = parser.parse_args()
    if arguments.log is None:
        found = LIST.read_text(encoding="utf-8").split()
    else:
        found = slow(durations(arguments.log.read_text(encoding="utf-8")), arguments.budget)
    chosen = existing(found)
    LIST.write_text("\n".join(chosen) + "\n", encoding="utf-8")
    print(f"{len(chosen)} test functions are slow, {len(found) - len(chosen)} that are no more left out: {LIST}")


if __name__ == "__main__":
    main()
