"""What watched functions cost is noted under the right name, and they compute what they did."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from waker.errors import UserError
from waker.machine.compile_cache import CompileCache
from waker.machine.compile_costs import Costs, processor_seconds


@pytest.fixture
def cache(tmp_path: Path) -> CompileCache:
    return CompileCache(str(tmp_path))


def spend(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_the_median_of_eager_calls_after_the_first(cache: CompileCache) -> None:
    took = iter([0.05, 0.05, 0.004, 0.002, 0.03, 0.2])

    def update(x: int) -> int:
        spend(next(took))
        return x + 1

    watched = Costs(cache, "key", "off", skipped=2, measured=3).watched("update", update)
    assert [watched(i) for i in range(4)] == [1, 2, 3, 4]
    assert cache.costs("key") == {}
    assert [watched(i) for i in range(2)] == [1, 2]
    (figures,) = cache.costs("key").values()
    assert figures.keys() == {"off"} and 4.0 <= figures["off"] < 20.0


def test_the_first_compiled_call_is_cold_where_torch_found_nothing_and_warm_where_it_did(cache: CompileCache) -> None:
    for missed, figure in ((1, "cold"), (0, "warm")):

        def compile(missed: int = missed) -> None:
            torch._dynamo.utils.counters["inductor"]["fxgraph_cache_miss"] += missed
            spend(0.02)

        Costs(cache, "key", "compile").watched("update", compile)()
        assert 0.02 <= cache.costs("key")["update"][figure] < 10.0
    assert cache.costs("key")["update"].keys() == {"cold", "warm"}


def test_whoever_comes_second_loads_what_the_first_compiled(cache: CompileCache) -> None:
    began, go_on = threading.Event(), threading.Event()
    notes: list[str] = []

    def compile() -> str:
        torch._dynamo.utils.counters["inductor"]["fxgraph_cache_miss"] += 1
        began.set()
        assert go_on.wait(30)
        return "compiled"

    def load() -> str:
        assert "cold" in cache.costs("key")["update"]
        return "loaded"

    def note(text: str) -> None:
        notes.append(text)
        go_on.set()

    first = threading.Thread(target=Costs(cache, "key", "compile").watched("update", compile))
    first.start()
    assert began.wait(30)
    assert Costs(cache, "key", "compile", note).watched("update", load)() == "loaded"
    first.join(30)
    assert notes == ["another process is compiling the same update: waiting for it"]


def test_what_is_compiled_already_is_loaded_without_waiting(cache: CompileCache) -> None:
    cache.record("key", "update", {"cold": 1.0})
    with cache.alone("key", "update", pytest.fail):  # somebody compiles anew, say
        Costs(cache, "key", "compile", pytest.fail).watched("update", lambda: None)()


def test_a_compiler_that_fails_is_told_in_one_line(cache: CompileCache) -> None:
    from torch._inductor.exc import CppCompileError, InductorError

    def fails() -> None:
        raise InductorError(CppCompileError(["g++"], "fatal error: Python.h:\nno such file"), None)

    with pytest.raises(UserError, match=r"the C\+\+ compiler failed; .*Python.h: no such file"):
        Costs(cache, "key", "compile").watched("update", fails)()

    def has_no_room() -> None:
        raise InductorError(OSError(30, "Read-only file system"), None)

    with pytest.raises(UserError, match=r"cannot be kept: .*Read-only.*train.compile_cache names another"):
        Costs(cache, "key", "compile").watched("update", has_no_room)()

    def breaks() -> None:
        raise InductorError(RuntimeError("a bug"), None)

    with pytest.raises(InductorError):
        Costs(cache, "key", "compile").watched("update", breaks)()
    assert cache.costs("key") == {}


def test_a_compiler_that_a_signal_ended_is_called_again(cache: CompileCache) -> None:
    """Ctrl-C reaches it too, and the run must get to the end of its update to be saved."""
    from torch._inductor.exc import CppCompileError, InductorError

    def failing(code: int, times: int) -> Callable[[], str]:
        left = iter([code] * times)

        def compile() -> str:
            for returned in left:
                error = CppCompileError(["g++"], "")
                error.__cause__ = subprocess.CalledProcessError(returned, ["g++"])
                raise InductorError(error, None)
            return "compiled"

        return compile

    assert Costs(cache, "key", "compile").watched("update", failing(-2, 1))() == "compiled"
    for code, times in ((-2, 2), (1, 1)):
        with pytest.raises(UserError, match="the C.. compiler failed"):
            Costs(cache, "key", "compile").watched("update", failing(code, times))()


def test_processor_seconds_count_children_that_have_ended() -> None:
    before = processor_seconds()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    assert processor_seconds() - before >= 0.3
