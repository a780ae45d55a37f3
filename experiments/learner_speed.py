"""What the learner's updates cost here, against what the project asks of them.

    python -m experiments.learner_speed [--only paper small …] [--updates 2]

One thread (``OMP_NUM_THREADS=1``), nothing else running: the paper-size update alone takes minutes. Writes
``results/learner_speed/``: ``rows.csv`` (each figure with its bound, and whether it holds), ``scaling.csv`` and
``figure.png`` (cost of an update over the number of θ, batch, horizon and tasks) and ``machine.yaml`` (what each part
ran on, and the commit). Parts that are not run keep their rows.

``paper`` and ``small``: the published update (five task policies alongside, all 800 start states, H = 15, ten heads,
fp32), processor seconds, fraction of the processor's peak measured in between (matrix products by the fastest library
there is), peak memory of a fresh process; what is asked of AMD processors is judged on one. ``laptop``: the laptop
preset's update, eager and compiled. ``memory``: the small one with freed memory given back to the system.
``credit``: 800 start states credited to 777 θ, and among 10⁵ θ with the draw of the next one and with the memory that
logs take. ``batch``: 16 × 50 pictures drawn from a ring larger than the caches. ``loop``: who has the time of the loop
of ``laptop-grid``. ``replay``: a full mapped ring of pictures. ``schedules``: read from the rows of
:mod:`experiments.schedules`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml

from experiments.bench.configs import Workload, small_walker, workload
from experiments.bench.loop import measure_loop
from experiments.bench.measure import (
    Bench,
    build,
    machine_of,
    measure_choosing,
    measure_crediting,
    measure_drawing,
    measure_logging,
)
from experiments.bench.memory import in_fresh_process
from experiments.bench.parts import CpuClock
from waker.machine import mkl_dispatch
from waker.machine.device import use_threads
from waker.machine.host_memory import keep_freed_memory
from waker.machine.mkl_dispatch import tell_unless_done
from waker.replay.ring import Replay, record_fields
from waker.specs import ObservationKey
from waker.storage.run_folder import git_commit

RESULTS = Path(__file__).parents[1] / "results" / "learner_speed"
SCHEDULES = RESULTS.parent / "schedules" / "summary.csv"
RING = 20_000
"""Steps of the ring whose memory is measured: a quarter of a gigabyte in pictures."""
MANY_THETAS = 100_000
OPT_IN = "WAKER_MKL_AS_INTEL=1"
LOGS = 300
"""Snapshots of the curriculum that are logged without a save in between; a usual run makes about ten."""
ROUNDS = 3
AXES: dict[str, tuple[int, ...]] = {
    "thetas": (10, 100, 1_000, 10_000, 100_000),
    "batch": (4, 8, 16, 32),
    "horizon": (4, 8, 16, 32),
    "tasks": (1, 2, 4, 8),
}
"""What is varied, from the sizes in :data:`BASE`."""
LABELS = {"thetas": "number of θ", "batch": "batch B", "horizon": "horizon H", "tasks": "tasks K"}
BASE = {"thetas": 777, "batch": 8, "horizon": 8, "tasks": 4}


@dataclass(frozen=True)
class Row:
    """One figure. ``bound`` as text (``<= 72``), empty where there is none; ``holds`` is empty then too."""

    part: str
    figure: str
    value: float
    unit: str
    bound: str = ""
    holds: bool | str = ""


def bounded(part: str, figure: str, value: float, unit: str, relation: str, bound: float) -> Row:
    """A row with its verdict; ``relation`` is ``<=`` or ``>=``."""
    holds = value <= bound if relation == "<=" else value >= bound
    return Row(part, figure, value, unit, f"{relation} {bound:g}", bool(holds))


AMD_BOUNDS = {
    "small": {"": 4.9, OPT_IN: 4.2},
    "paper": {"": 24.0, OPT_IN: 20.5},
    "laptop": {"": 0.040, "compiled": 0.028},
}
"""Processor seconds of an update that are asked of an AMD processor with AVX-512, as it is and where MKL takes it for
an Intel one. Elsewhere the figures are told and not judged."""


def amd_with_avx512() -> bool:
    """Whether this processor is one that :data:`AMD_BOUNDS` speak of (Linux)."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return "AuthenticAMD" in text and " avx512f" in text


def on_amd(part: str, how: str, seconds: float) -> list[Row]:
    """The seconds of an update ``how`` it was made ("" = as it is), and the verdict or that there is none."""
    word = f"processor seconds of an update{f', {how}' if how else ''}"
    bound = AMD_BOUNDS[part].get(how)
    if bound is None:
        return [Row(part, word, seconds, "s")]
    if amd_with_avx512():
        return [bounded(part, word, seconds, "s", "<=", bound)]
    return [Row(part, word, seconds, "s"), not_measured(part, f"{word}, on AMD", bound)]


def not_measured(part: str, figure: str, bound: float) -> Row:
    """A bound that this processor cannot be held to."""
    return Row(part, figure, float("nan"), "s", f"<= {bound:g}", "not measured")


def update_rows(part: str, peak_gb: float | None, updates: int | None) -> list[Row]:
    """Rows of the published update at one size."""
    name = f"{part}-walker"
    record = in_fresh_process(name, "cpu", updates)
    update, peak = record["update"], record["memory"]["peak_mb"] / 1e3
    rows = [
        *on_amd(part, "", update["cpu_seconds"]),
        Row(part, "fraction of the peak", update["fraction_of_peak"], ""),
        Row(part, "fraction of the peak, 10 % quantile", update["fraction_low"], ""),
        Row(part, "fraction of the peak, 90 % quantile", update["fraction_high"], ""),
        Row(part, f"peak in the same run, by {update['peak_library']}", update["peak_gflops"], "GFLOP/s"),
        Row(part, f"products by {record['arithmetic']['products']}: achieved", update["gflops"], "GFLOP/s"),
        Row(part, "work of an update", 1e-3 * update["gflop"], "TFLOP"),
        Row(part, "operations of an update", update["operations"], ""),
        Row(part, "timed updates", update["updates"], ""),
        Row(part, "peak memory", peak, "GB")
        if peak_gb is None
        else bounded(part, "peak memory", peak, "GB", "<=", peak_gb),
    ]
    rows += [
        Row(part, f"processor seconds: {name}", spent["cpu_seconds"], "s") for name, spent in update["parts"].items()
    ]
    return rows + opt_in_rows(part, updates)


def opt_in_rows(part: str, updates: int | None) -> list[Row]:
    """The same where MKL takes the processor for an Intel one; nothing else on one."""
    if not amd_with_avx512():
        return [not_measured(part, f"processor seconds of an update, {OPT_IN}, on AMD", AMD_BOUNDS[part][OPT_IN])]
    before = os.environ.get(mkl_dispatch.SWITCH)
    os.environ[mkl_dispatch.SWITCH] = "1"
    try:
        update = in_fresh_process(f"{part}-walker", "cpu", updates)["update"]
    finally:
        os.environ.pop(mkl_dispatch.SWITCH) if before is None else os.environ.update({mkl_dispatch.SWITCH: before})
    return [
        *on_amd(part, OPT_IN, update["cpu_seconds"]),
        Row(part, f"fraction of the peak, {OPT_IN}", update["fraction_of_peak"], ""),
    ]


def laptop_rows() -> list[Row]:
    """The laptop preset's update, eager and compiled (from the cache, after it has been filled)."""
    rows = []
    for choice, how in (("off", ""), ("compile", "compiled")):
        update = in_fresh_process("laptop-grid", "cpu", compiled=choice)["update"]  # type: ignore[arg-type]
        rows += on_amd("laptop", how, update["cpu_seconds"])
        rows.append(Row("laptop", f"milliseconds by the wall{f', {how}' if how else ''}", update["ms"], "ms"))
    return rows


def memory_rows(updates: int | None) -> list[Row]:
    """What keeping freed memory is worth at the small size."""
    rows = []
    for keep, word in ((True, "kept"), (False, "given back")):
        record = in_fresh_process("small-walker", "cpu", updates, keep)
        rows += [
            Row("memory", f"processor seconds, freed memory {word}", record["update"]["cpu_seconds"], "s"),
            Row("memory", f"fraction of the peak, freed memory {word}", record["update"]["fraction_of_peak"], ""),
            Row("memory", f"peak memory, freed memory {word}", record["memory"]["peak_mb"] / 1e3, "GB"),
        ]
    return rows


def credit_rows() -> list[Row]:
    """Crediting the published update's start states; over very many θ drawing the next and logging, too."""
    paper, rows = workload("paper-walker"), []
    for sampler in ("waker-m", "waker-r"):
        found = measure_crediting(paper, sampler)
        figure = f"{sampler}: crediting {found['starts']:.0f} states to {paper.thetas} θ"
        rows.append(bounded("credit", figure, found["ms"], "ms", "<=", 0.5))
    many = replace(paper, thetas=MANY_THETAS)
    for sampler in ("waker-m", "waker-r", "dr", "gradual-expansion"):
        for spread, word in ((False, "16 of"), (True, "any of")):
            found = measure_choosing(many, sampler, spread)
            figure = f"{sampler}: 800 credits to {word} 10⁵ θ, and a draw"
            rows.append(bounded("credit", figure, found["ms"], "ms", "<=", 0.1))
            rows.append(Row("credit", f"{figure}: mean", found["mean_ms"], "ms"))
        if sampler == "waker-r":
            rows.append(Row("credit", "waker-r: the same where reductions are taken", found["mark_ms"], "ms"))
    logged = measure_logging(many, "waker-m", LOGS)
    return [
        *rows,
        bounded("credit", f"memory after {LOGS} logs of 10⁵ θ without a save", logged["grown_mb"], "MB", "<=", 20.0),
        bounded("credit", "the same at its highest, while one is made", logged["peak_mb"], "MB", "<=", 20.0),
        Row("credit", "a log of 10⁵ θ", logged["ms"], "ms"),
    ]


def batch_rows() -> list[Row]:
    """Drawing the published update's batch."""
    found = measure_drawing(workload("paper-walker"))
    return [
        bounded("batch", f"drawing a batch of {found['batch_mb']:.1f} MB", found["ms"], "ms", "<=", 4.0),
        Row("batch", "copying as many bytes", found["copy_ms"], "ms"),
    ]


def loop_rows() -> list[Row]:
    """The training loop of ``laptop-grid``."""
    found = measure_loop(workload("laptop-grid"))
    return [
        bounded("loop", "the learner's share of the loop", found["shares"]["learner"], "", ">=", 0.9),
        Row("loop", "agent steps per second", found["steps_per_second"], "1/s"),
        *(Row("loop", f"share: {name}", share, "") for name, share in found["shares"].items() if name != "learner"),
    ]


def replay_rows() -> list[Row]:
    """What a full mapped ring of the published update's records takes of memory and disk."""
    spec, _ = workload("paper-walker").resolved()
    with tempfile.TemporaryDirectory() as folder:
        before = proportional_set_size()
        replay = Replay(record_fields(spec), 8, RING, Path(folder))
        for array in replay.arrays.values():
            array[:] = 1  # touch every page
        taken = proportional_set_size() - before
        return [
            Row("replay", f"bytes of {RING:,} steps in pictures", replay.bytes / 1e9, "GB"),
            bounded("replay", "taken by the full ring, of its bytes", taken / replay.bytes, "", "<=", 1.05),
        ]


def proportional_set_size() -> int:
    """Bytes of memory that this process holds, its share of files included (Linux)."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def schedule_rows() -> list[Row]:
    """From the rows of ``experiments.schedules``: the default way's cost at the best quality that both reach."""
    summary = pd.read_csv(SCHEDULES)
    found = summary[(summary["schedule"] == "deferred") & summary["of_authors"].notna()]
    best = found.loc[found["share"].idxmax()]
    figure = f"deferred over authors, CPU to {best['share']:.0%} of the optimum"
    return [bounded("schedules", figure, float(best["of_authors"]), "", "<=", 0.2)]


# Scaling --------------------------------------------------------------------------------------------------------------


def varied(**sizes: int) -> Workload:
    """The small walker's nets on vector observations, in other sizes (:data:`BASE` where none is given)."""
    size, base = {**BASE, **sizes}, small_walker()
    assert base.spec is not None
    tasks = tuple(f"task{k}" for k in range(size["tasks"]))
    vector = ObservationKey("vector", "vector", (24,), "float32")
    spec = replace(base.spec, observation=(vector,), tasks=tasks)
    train = replace(base.config.train, batch=size["batch"], length=16)
    behaviour = replace(base.config.behaviour, horizon=size["horizon"])
    curriculum = replace(base.config.curriculum, sampler="waker-m")
    config = replace(base.config, train=train, behaviour=behaviour, curriculum=curriculum)
    return replace(base, name="scaling", config=config, spec=spec, thetas=size["thetas"])


def processor_seconds(bench: Bench) -> float:
    """Of one update: batch, learner, credit, and θ for the next eight episodes."""
    clock = CpuClock()
    start = clock.mark()
    bench.update()
    bench.curriculum.sample(8)
    return clock.between(start, clock.mark()).cpu


def axis_rows(axis: str) -> Iterator[dict[str, Any]]:
    """Cost over the values of one axis; values take turns, so that a slow minute is nobody's."""
    benches = {value: build(varied(**{axis: value}), "cpu") for value in AXES[axis]}
    for bench in benches.values():
        processor_seconds(bench)  # touches its memory
    spent: dict[int, list[float]] = {value: [] for value in benches}
    for _ in range(ROUNDS):
        for value, bench in benches.items():
            spent[value].append(processor_seconds(bench))
    for value, seconds in spent.items():
        yield {"axis": axis, "value": value, "cpu_seconds": float(np.median(seconds)), "least": min(seconds)}


def line(table: pd.DataFrame) -> tuple[float, float, float]:
    """Least squares cost = a + b·value in relative errors: a, b, and the largest relative deviation from it."""
    x, y = table["value"].to_numpy(float), table["cpu_seconds"].to_numpy()
    (a, b), *_ = np.linalg.lstsq(np.stack([1 / y, x / y], -1), np.ones_like(y), rcond=None)
    return float(a), float(b), float(np.abs((a + b * x) / y - 1).max())


def scaling_rows() -> list[Row]:
    """Rows of the scaling; writes ``scaling.csv`` and ``figure.png``."""
    table = pd.DataFrame([row for axis in AXES for row in axis_rows(axis)])
    table.to_csv(RESULTS / "scaling.csv", index=False)
    draw_scaling(table)
    rows = []
    for axis, group in table.groupby("axis", sort=False):
        if axis == "thetas":
            growth = group["cpu_seconds"].iloc[-1] / group["cpu_seconds"].iloc[0]
            rows.append(bounded("scaling", "cost with 10⁵ θ over cost with 10", growth, "", "<=", 1.1))
        else:
            a, b, worst = line(group)
            rows.append(bounded("scaling", f"{axis}: deviation from a line", worst, "", "<=", 0.1))
            rows.append(Row("scaling", f"{axis}: seconds for one more", b, "s"))
            rows.append(Row("scaling", f"{axis}: seconds at none", a, "s"))
    return rows


def draw_scaling(table: pd.DataFrame) -> None:
    """``figure.png`` of the rows of ``scaling.csv``."""
    figure, axes = plt.subplots(1, len(AXES), figsize=(12, 3.2), sharey=True, layout="constrained")
    for panel, (axis, group) in zip(axes, table.groupby("axis", sort=False), strict=True):
        panel.loglog(group["value"], group["cpu_seconds"], "o", label="measured")
        panel.set_xlabel(LABELS[axis])
        if axis != "thetas":
            a, b, _ = line(group)
            x = np.geomspace(group["value"].min(), group["value"].max(), 100)
            panel.loglog(x, a + b * x, "-", label=f"{a:.2f} + {b:.3f}·x s")
        panel.set_xticks(group["value"], [f"{value:,}" for value in group["value"]], fontsize="small")
        panel.minorticks_off()
        panel.legend(fontsize="small")
    axes[0].set_yticks(ticks := [0.5, 1, 2, 4], [f"{tick:g}" for tick in ticks])
    axes[0].set_ylabel("processor seconds of an update")
    figure.savefig(RESULTS / "figure.png", dpi=120)
    plt.close(figure)


# All ----------------------------------------------------------------------------------------------------------------


def merged(rows: list[Row], path: Path) -> pd.DataFrame:
    """New rows in place of the stored ones of the same parts."""
    new = pd.DataFrame([asdict(row) for row in rows])
    if not path.is_file():
        return new
    old = pd.read_csv(path, keep_default_na=False)
    return pd.concat([old[~old["part"].isin(new["part"])], new], ignore_index=True)


def main() -> int:
    """Run the parts asked for; 1 if a bound does not hold."""
    updates: int | None = None
    parts: dict[str, Callable[[], list[Row]]] = {
        "paper": lambda: update_rows("paper", 4.0, updates),
        "small": lambda: update_rows("small", None, updates),
        "laptop": laptop_rows,
        "memory": lambda: memory_rows(updates),
        "credit": credit_rows,
        "batch": batch_rows,
        "loop": loop_rows,
        "replay": replay_rows,
        "schedules": schedule_rows,
        "scaling": scaling_rows,
    }
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(parts), default=list(parts), help="parts to run")
    parser.add_argument("--updates", type=int, help="timed updates of paper, small and memory (default 2, 3 and 3)")
    args = parser.parse_args()
    updates = args.updates
    keep_freed_memory()
    tell_unless_done()
    use_threads("cpu")
    RESULTS.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for name in args.only:
        for row in parts[name]():
            word = row.holds if isinstance(row.holds, str) else "holds" if row.holds else "DOES NOT HOLD"
            verdict = f"{row.bound}: {word}" if row.bound else ""
            print(f"{row.part:8s} {row.figure:58s} {row.value:10.4g} {row.unit:8s} {verdict}", flush=True)
            rows.append(row)
        merged(rows, RESULTS / "rows.csv").to_csv(RESULTS / "rows.csv", index=False)
    path = RESULTS / "machine.yaml"
    known = yaml.safe_load(path.read_text()) if path.is_file() else {}
    run = machine_of("cpu") | {"git": git_commit(), "load_at_the_end": os.getloadavg()[0]}
    machines = {name: run if name in args.only else known.get(name) for name in parts}
    path.write_text(yaml.safe_dump(machines, sort_keys=False, allow_unicode=True))
    return 0 if all(row.holds for row in rows if row.bound and row.holds != "not measured") else 1


if __name__ == "__main__":
    sys.exit(main())
