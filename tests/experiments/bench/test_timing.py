"""Ratios of timed updates to the machine, on made-up times."""

from __future__ import annotations

import time

import pytest
import torch

from experiments.bench import timing
from experiments.bench.parts import MODEL, REST, CpuClock, Span, Stopwatch
from experiments.bench.timing import Machine, Product, Timing, best_of, products_of, stopwatch, timed_updates
from waker.machine.products import has_onednn


def made_up(by_cpu: bool) -> Timing:
    """Updates of 3 s and 5 s (2 s and 4 s of processor); products at 10, 20, 40 (twice that by processor)."""
    machine = Machine(torch.device("cpu"), CpuClock())
    machine.gflops = [Span(10, 20), Span(20, 40), Span(40, 80)]
    machine.small = [Span(2e-6, 1e-6)] * 3
    updates = [{MODEL: Span(2, 1), REST: Span(1, 1)}, {MODEL: Span(4, 3), REST: Span(1, 1)}]
    return Timing(updates, [slice(0, 2), slice(1, 3)], machine, by_cpu)


def test_ratios_of_processor_time() -> None:
    report = made_up(by_cpu=True).report(flop=120e9, operations=1000)
    assert (report["ms"], report["cpu_seconds"], report["clock"]) == (4000, 3, "cpu")
    assert (report["gflops"], report["peak_gflops"]) == pytest.approx((40, 40))
    # 120 / 2 beside products at 20 and 40; 120 / 4 beside 40 and 80.
    assert report["fraction_of_peak"] == pytest.approx((2.0 + 0.5) / 2)
    assert report["fraction_high"] == pytest.approx(2.0 - 0.1 * 1.5)
    assert report["fraction_low"] == pytest.approx(0.5 + 0.1 * 1.5)
    assert report["time_per_operation"] == pytest.approx(3 / (1000 * 1e-6))


def test_ratios_of_the_walls_time() -> None:
    report = made_up(by_cpu=False).report(flop=120e9, operations=1000)
    assert (report["gflops"], report["peak_gflops"]) == pytest.approx((30, 20))
    assert report["clock"] == "wall"


def test_parts_sum_to_the_whole() -> None:
    parts = made_up(by_cpu=True).report(flop=1.0, operations=1)["parts"]
    assert parts[MODEL] == {"ms": 3000, "cpu_seconds": 2, "share": 6 / 8}
    assert sum(part["share"] for part in parts.values()) == pytest.approx(1.0)
    assert sum(part["ms"] for part in parts.values()) == pytest.approx(4000)


def test_each_update_has_samples_of_the_machine_around_it() -> None:
    watch, machine = stopwatch(torch.device("cpu"), every=0.0)
    calls = []
    timing = timed_updates(lambda: calls.append(1), watch, machine, updates=3, warm_up=2)
    assert len(calls) == 5
    assert len(timing.updates) == 3
    assert all(len(machine.gflops[at]) >= 2 for at in timing.around)
    assert min(s.wall for s in machine.gflops) > 0
    assert timing.by_cpu == (torch.get_num_threads() == 1)


def test_a_sample_is_taken_only_when_due() -> None:
    machine = Machine(torch.device("cpu"), CpuClock(), every=1e9)
    assert machine.sample_if_due()
    assert not machine.sample_if_due()
    assert len(machine.gflops) == len(machine.small) == 1


def test_the_fastest_library_is_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of made-up speeds: of two libraries at two shapes each, one product is the fastest."""
    milliseconds = {("slow", 1): 4, ("slow", 2): 6, ("fast", 1): 5, ("fast", 2): 2}

    def products(shape: tuple[int, int, int], device: torch.device) -> list[Product]:
        which = 1 if shape == (1024, 1024, 1024) else 2

        def busy(library: str) -> None:
            end = time.process_time() + 1e-3 * milliseconds[library, which]
            while time.process_time() < end:
                pass

        return [Product(name, lambda name=name: busy(name), 1e6, 8) for name in ("slow", "fast")]

    monkeypatch.setattr(timing, "products_of", products)
    machine = Machine(torch.device("cpu"), CpuClock())
    assert machine.library == "fast"
    assert machine.tried == pytest.approx({"slow": 0.25, "fast": 0.5}, rel=0.1)
    machine.sample()
    assert machine.gflops[0].cpu == pytest.approx(0.5, rel=0.1)
    report = Timing([{REST: Span(1, 1)}], [slice(0, 1)], machine, by_cpu=True).report(flop=1e6, operations=1)
    assert (report["peak_library"], report["peak_tried"]) == ("fast", machine.tried)


def test_every_library_there_is_makes_the_same_product() -> None:
    products = products_of((64, 32, 16), torch.device("cpu"))
    names = [product.library for product in products]
    assert "numpy's BLAS" in names
    assert ("oneDNN" in names) == has_onednn()
    assert ("MKL" in names) == torch.backends.mkl.is_available()
    torch.manual_seed(0)
    for product in products:
        assert product.flop == 2 * 64 * 32 * 16
        assert product.call() is not None
    assert [p.library for p in products_of((8, 8, 8), torch.device("meta"))] == ["torch's BLAS"]


class Counting(CpuClock):
    """A clock that goes on by one second at every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def mark(self) -> tuple[float, float]:
        self.now += 1
        return self.now, self.now


def test_time_outside_updates_is_not_theirs() -> None:
    clock = Counting()
    machine = Machine(torch.device("cpu"), CpuClock(), every=1e9)

    def sample() -> None:
        clock.now += 1000

    machine.sample = sample  # type: ignore[method-assign]
    timing = timed_updates(lambda: None, Stopwatch(clock), machine, updates=2)
    assert [span.wall for span in timing.seconds()] == [1.0, 1.0]


def test_best_of_is_the_least_mean() -> None:
    calls: list[int] = []
    assert best_of(lambda: calls.append(1), calls=3, rounds=4) > 0
    assert len(calls) == 12
