"""What all tests share: one torch thread, each with its own products, and one small finished run to copy or read."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch._inductor.config  # reads CXX at its import, once: tests that name another compiler must not be the first

from waker.machine import products
from waker_envs.foreign import Stop
from waker_envs.grids.cleanup_optima import VARIABLE

torch.set_num_threads(1)
# It configures logging when it is imported, which closes the streams of handlers that are there, absl's among them. In
# a test that captures output such a stream is the suite's own: no test may be the first to import it.
with contextlib.suppress(ImportError):
    import submitit  # noqa: F401


SLOW = frozenset((Path(__file__).parent / "slow.txt").read_text(encoding="utf-8").split())
"""Test functions that take most of the suite's time; ``scripts/slow_tests.py`` makes the list."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, skip what needs a CUDA device where there is none, and begin with what is long."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)  # nobody waits for one of them in the end
    for item in items:
        if item.nodeid.split("[")[0] in SLOW:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("cuda") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def _checked(descriptor: int) -> None:
    """As ``os.fsync``, an error where nothing is open."""
    os.fstat(descriptor)


@pytest.fixture(scope="session", autouse=True)
def nothing_waits_for_the_disk() -> Iterator[None]:
    """What is written is for the next read and outlives a killed process; only a loss of power is not withstood.

    A file takes ten milliseconds to reach a disk, and the smallest run has more than fifty. Whether and when a file is
    synced is seen by the tests that put a function of their own in this place; processes of their own wait as ever.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", _checked)
        yield


@pytest.fixture(scope="session", autouse=True)
def optima_are_solved() -> Iterator[None]:
    """No test reads or writes the user's cache of optima, nor do the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "")
        yield


@pytest.fixture(autouse=True)
def products_as_before() -> Iterator[None]:
    """Who multiplies is a setting of the process: no test leaves it to the next."""
    before = products.used()
    yield
    products.use(before)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``runs`` with one finished run of the ``tiny`` preset, policies trained afterwards. Copy it to change it."""
    from waker.cli import main

    runs = tmp_path_factory.mktemp("finished") / "runs"
    assert main(["train", "--preset", "tiny", "--train.task-policies", "after", "--runs", str(runs)]) == 0
    return runs


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of pages are made and not drawn: two thirds of a page's time, where its text is what is looked at."""
    monkeypatch.setattr("waker.report.blocks.data_uri", lambda figure, kind="svg": "data:,")


@pytest.fixture
def float64() -> Iterator[None]:
    """New tensors are float64: for comparisons that rounding must not decide, see :mod:`tests.helpers.rounding`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def signals_are_ours() -> Iterator[None]:
    """As in the command line: only what its handlers raise is a signal."""

    def handler(number: int, frame: object) -> None:
        raise Stop(number)

    before = signal.signal(signal.SIGINT, handler)
    yield
    signal.signal(signal.SIGINT, before)
