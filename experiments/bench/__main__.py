"""``python -m experiments.bench``: what an update costs on this machine, what of it, and whether that has moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waker.cli import main
from waker.cli.arguments import parse
from waker.config.schema import CompileChoice, PrecisionChoice, ProductsChoice
from waker.errors import UserError
from waker.settings import Count, NotNegativeInt

if TYPE_CHECKING:
    from rich.table import Table

QUICK = ("laptop-grid", "control", "small-walker")
"""What `make bench` runs: about three minutes."""


@dataclass(frozen=True)
class BenchArgs:
    """Time updates, their parts, the environment and the training loop; beside it, what the machine can do.

    Configurations: paper-walker (the published update at its size: minutes), small-walker, laptop-grid, control,
    default, tiny. Updates run on synthetic batches in a process of their own. WAKER_KEEP_MEMORY=0, or
    --no-keep-memory, gives freed memory back to the system, as it would be without `waker`'s settings.
    """

    config: tuple[str, ...] = ("laptop-grid",)
    """Which configurations to measure; `quick` stands for a few that take three minutes together."""
    device: str = "cpu"
    """Torch device; on cuda, updates and their parts are timed with CUDA events."""
    updates: Count | None = None
    """Timed updates (one more is made first, to warm up); None = the configuration's own number."""
    loop_updates: NotNegativeInt | None = None
    """Updates of the whole training loop; 0 = leave it out; None = the configuration's own number."""
    compile: CompileChoice = "off"
    """Compile the update, or record it as CUDA graphs (train.compile); its parts are then not told apart."""
    precision: PrecisionChoice = "fp32"
    """Arithmetic of networks (train.precision)."""
    products: ProductsChoice = "auto"
    """Who multiplies on a CPU (train.products)."""
    chunk: NotNegativeInt | None = None
    """Start states imagined at a time (behaviour.chunk); None = the configuration's own."""
    env_processes: NotNegativeInt | None = None
    """Worker processes of the loop's environments (train.env_processes); None = the configuration's own."""
    keep_memory: bool = True
    """Keep freed memory instead of giving it back to the system (glibc only)."""
    json: Path | None = None
    """Where everything measured goes; None = nowhere."""
    against: Path | None = None
    """A file of stored figures to compare with; exit code 1 if one moved by more than 10 %."""
    save: bool = False
    """Store the figures in the file of --against."""


def measured(name: str, args: BenchArgs) -> dict[str, Any]:
    """Everything about one configuration; what its environment could not do is told in its place.

    Raises:
        UserError: the update could not be measured.
    """
    from experiments.bench.configs import changed, workload
    from experiments.bench.loop import measure_environment, measure_loop
    from experiments.bench.memory import in_fresh_process
    from waker.collection.episode import EnvironmentFailed
    from waker_envs import UnknownEnvError

    chosen = changed(workload(name), args.compile, args.precision, args.chunk, args.env_processes, args.products)
    record: dict[str, Any] = {"workload": name, "summary": chosen.summary}
    change = (args.compile, args.precision, args.chunk, args.products)
    record |= in_fresh_process(name, args.device, args.updates, args.keep_memory, *change)
    updates = chosen.loop_updates if args.loop_updates is None else args.loop_updates
    record |= {"environment": None, "loop": None}
    try:
        record["environment"] = measure_environment(chosen)
        record["loop"] = measure_loop(chosen, args.device, updates) if updates else None
    except (EnvironmentFailed, UnknownEnvError, UserError) as failure:
        record["environment_failed"] = " ".join(str(failure).split())
    return record


def table(record: dict[str, Any]) -> Table:
    """One configuration's figures for a terminal."""
    from rich.table import Table

    u, memory = record["update"], record["memory"]
    rows = Table(title=f"{record['workload']}: {record['summary']}", show_header=False, title_justify="left")
    rows.add_column("")
    rows.add_column("", justify="right")
    clock = "processor time" if u["clock"] == "cpu" else "time"
    rows.add_row("update", f"{u['ms']:,.1f} ms [{u['ms_low']:,.1f}, {u['ms_high']:,.1f}], {u['cpu_seconds']:.3f} s CPU")
    for name, part in u["parts"].items():
        rows.add_row(f"  {name}", f"{part['ms']:,.2f} ms  {part['share']:6.1%}")
    rows.add_section()
    rows.add_row("work of an update", f"{u['gflop']:,.2f} GFLOP, {u['operations']:,} operations")
    rows.add_row("achieved", f"{u['gflops']:,.1f} GFLOP/s of {clock}")
    spread = f"[{u['peak_gflops_low']:,.0f}, {u['peak_gflops_high']:,.0f}]"
    samples = f"{spread}, {u['peak_samples']} samples"
    rows.add_row(f"peak ({u['peak_library']}), same run", f"{u['peak_gflops']:,.1f} GFLOP/s {samples}")
    others = {k: v for k, v in u["peak_tried"].items() if k != u["peak_library"]}
    if others:
        rows.add_row("  others at their best", ", ".join(f"{name} {rate:,.0f}" for name, rate in others.items()))
    fraction = f"{u['fraction_of_peak']:.3f} [{u['fraction_low']:.3f}, {u['fraction_high']:.3f}]"
    rows.add_row("fraction of the peak", fraction)
    rows.add_row("products by", record["arithmetic"]["products"])
    rows.add_row("time of an operation", f"{u['time_per_operation']:.1f} tiny ones ({u['small_operation_us']:.2f} µs)")
    kept = "" if memory["kept"] else ", freed memory not kept"
    rows.add_row("peak memory", f"{memory['peak_mb']:,.0f} MB ({memory['before_mb']:,.0f} MB before){kept}")
    if "device_peak_mb" in memory:
        rows.add_row("peak memory of the device", f"{memory['device_peak_mb']:,.0f} MB")
    drawing, crediting = record["drawing"], record["crediting"]
    of = f"{drawing['batch_mb']:.1f} MB, × {drawing['ms'] / drawing['copy_ms']:.1f} of copying it"
    rows.add_row("drawing a batch", f"{drawing['ms']:.2f} ms ({of})")
    rows.add_row(f"crediting {crediting['starts']:.0f} states", f"{crediting['ms']:.3f} ms")
    rows.add_section()
    _loop_rows(rows, record)
    return rows


def _loop_rows(rows: Table, record: dict[str, Any]) -> None:
    environment, loop = record["environment"], record["loop"]
    if environment is not None:
        rows.add_row("one environment", f"{environment['steps_per_second']:,.0f} steps/s")
    if loop is not None:
        rows.add_row("the whole loop", f"{loop['steps_per_second']:,.1f} steps/s over {loop['updates']} updates")
        for name, share in loop["shares"].items():
            rows.add_row(f"  {name}", f"{share:6.1%}")
    elif "environment_failed" not in record:
        rows.add_row("the whole loop", "not run (--loop-updates N)")
    if "environment_failed" in record:
        rows.add_row("environment or loop failed", record["environment_failed"])


def _names(asked: Sequence[str]) -> list[str]:
    """The configurations asked for, each once.

    Raises:
        UserError: one that does not exist.
    """
    from experiments.bench.configs import workload

    names = list(dict.fromkeys(n for name in asked for n in (QUICK if name == "quick" else (name,))))
    if not names:
        raise UserError("--config names no configuration")
    for name in names:
        workload(name)
    return names


def _checked(args: BenchArgs) -> None:
    """Refuse combinations that mean nothing.

    Raises:
        UserError: naming the option.
    """
    asked = (args.compile, args.precision, args.products, args.chunk, args.env_processes, args.keep_memory)
    if args.against is not None and asked != ("off", "fp32", "auto", None, None, True):
        left_out = "--compile, --precision, --products, --chunk, --env-processes and --no-keep-memory"
        raise UserError(f"--against compares configurations as they are: leave out {left_out}")
    if args.save and args.against is None:
        raise UserError("--save stores into the file of --against; name one")


def command(argv: list[str]) -> int:
    """Run the benchmark; 1 if a stored figure moved."""
    args = parse(BenchArgs, argv, verb="experiments.bench", program="python -m")
    _checked(args)
    from experiments.bench.measure import machine_of
    from experiments.bench.store import Baseline, machine_key, save_json
    from waker.machine.device import checked_device
    from waker.machine.host_memory import keep_freed_memory
    from waker.machine.mkl_dispatch import tell_unless_done
    from waker.terminal.console import Console

    names, console = _names(args.config), Console()
    checked_device(args.device)
    if args.keep_memory:
        keep_freed_memory()
    tell_unless_done()
    machine = machine_of(args.device)
    baseline = None if args.against is None else Baseline(args.against)
    console.print(f"{machine_key(machine)}, torch {machine['torch']}", highlight=False)
    records, moves = [], 0
    for name in names:
        record = measured(name, args)
        records.append(record)
        console.print(table(record), highlight=False)
        if baseline is not None:
            found, line = baseline.compare(record, machine)
            if line is not None:
                console.print(line, highlight=False, soft_wrap=True)
            for move in found:
                text = f"moved: {move.workload} {move.figure} {move.then:.4g} → {move.now:.4g} ({move.change:+.0%})"
                console.print(text, highlight=False, soft_wrap=True)
            moves += len(found)
            baseline.put(record, machine)
    if args.json is not None:
        save_json(args.json, {"machine": machine, "records": records})
        console.print(f"Figures: {args.json}", soft_wrap=True)
    if baseline is not None and args.save:
        baseline.save()
        console.print(f"Stored: {args.against}", soft_wrap=True)
        return 0
    return 1 if moves else 0


if __name__ == "__main__":
    raise SystemExit(main(command=command))
