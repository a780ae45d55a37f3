"""Tables and profiles as text, from rows alone: ``results/gpu/<card>/rows.jsonl`` in, ``table.md`` and others out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.gpu.tasks import SIZES

Row = dict[str, Any]
SPEED = ("size", "way", "precision", "ms", "10–90 %", "launches", "kernels", "kernel ms", "MB", "GFLOP/s", "of peak")


def of_part(rows: Iterable[Row], part: str, failed: bool = False) -> list[Row]:
    """The rows of a part that were measured, or those that say why they were not."""
    return [row for row in rows if row["part"] == part and ("failed" in row) == failed]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column to the left, numbers to the right."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" + " ---: |" * (len(header) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def number(value: float | None, digits: int = 3) -> str:
    """A value to so many significant digits; empty where there is none."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def percent(share: float | None) -> str:
    """A share of one as a percentage; empty where there is none."""
    return "" if share is None else f"{100 * share:.2g} %"


def peaks(rows: Iterable[Row]) -> dict[str, float]:
    """The rate of the card's matrix products by precision, GFLOP/s."""
    return {r["precision"]: r["gflops"] for r in of_part(rows, "card") if r["what"] == "matrix product"}


def speeds(rows: list[Row]) -> list[Row]:
    """Speed rows with achieved rates and fractions of the card's products in the same precision."""
    work = {r["size"]: r["gflop"] for r in of_part(rows, "work")}
    peak, found = peaks(rows), []
    for r in of_part(rows, "speed"):
        gflops = work[r["size"]] / (1e-3 * r["ms"]) if r["size"] in work else None
        of_peak = gflops / peak[r["precision"]] if gflops is not None and r["precision"] in peak else None
        found.append({**r, "gflops": gflops, "of_peak": of_peak})
    order = {name: i for i, name in enumerate(("fp32", "tf32", "bf16"))}
    sizes = {name: i for i, name in enumerate(SIZES)}
    return sorted(
        found, key=lambda r: (sizes.get(r["size"], 9), order.get(r["precision"], 9), r["way"] != "off", r["ms"])
    )


def speed_table(rows: list[Row]) -> str:
    """One line a size, precision and way, fastest first."""
    lines = []
    for r in speeds(rows):
        spread = f"{number(r['ms_low'])}–{number(r['ms_high'])}"
        cells = [r["size"], r["way"], r["precision"], number(r["ms"]), spread]
        cells += [number(r.get(key), 4) for key in ("launches", "kernels", "kernel_ms")]
        cells += [number(r.get("device_reserved_mb"), 4), number(r["gflops"], 4), percent(r["of_peak"])]
        lines.append(cells)
    return markdown(SPEED, lines)


def check_table(rows: list[Row]) -> str:
    """One line a quantity."""
    lines = []
    for r in sorted(of_part(rows, "checks"), key=lambda r: (r["name"], r["quantity"].split(":")[0])):
        verdict = "told" if r["holds"] is None else "holds" if r["holds"] else "DOES NOT HOLD"
        bound = "" if r["bound"] is None else f"{r['bound']:g}"
        deviation = f"{r['deviation']:.2e}" if r["deviation"] else "0"
        lines.append([f"{r['name']}: {r['quantity']}", deviation, bound, verdict])
    return markdown(("check", "deviation", "bound", ""), lines)


def other_lines(rows: list[Row]) -> list[str]:
    """The card, the runs, the loop and rendering, a line each."""
    lines = []
    for r in of_part(rows, "card"):
        if r["what"] == "matrix product":
            lines.append(f"{r['what']} {r['side']}³ in {r['precision']}: {number(r['gflops'], 4)} GFLOP/s")
        else:
            value, unit = (r["gb_per_s"], "GB/s") if "gb_per_s" in r else (r["us"], "µs")
            lines.append(f"{r['what']}: {number(value, 4)} {unit}")
    for r in of_part(rows, "run"):
        if r["what"] == "run":
            speed = f"{r['steps']:,} steps and {r['updates']:,} updates in {r['seconds']} s"
            beside = "" if r.get("alone") else ", beside other tasks"
            lines.append(f"waker train on {r['device']} ({r['way']}{beside}): {speed}")
    for r in [*of_part(rows, "loop"), *of_part(rows, "render")]:
        if r["what"] == "loop":
            of = f"{r['size']}, {r['way']}, {r['precision']}, {r['env_processes']} environment processes"
            share = f"learner {r['shares']['learner']:.0%} of the time"
            rates = f"{number(r['updates_per_second'])} updates/s, {number(r['steps_per_second'], 4)} steps/s"
            lines.append(f"loop ({of}): {rates}, {share}")
        elif r["what"] == "rendering":
            lines.append(f"one environment in pictures, look {r['look']}: {number(r['steps_per_second'], 4)} steps/s")
        else:
            lines.append(f"drawn by {r['renderer']} ({r['backend']})")
    return lines


def failures(rows: list[Row]) -> list[str]:
    """What could not be measured, and why: a line a reason."""
    reasons: dict[str, list[str]] = {}
    for r in rows:
        if "failed" in r:
            what = "-".join([r["name"], *r.get("ways", ()), *r.get("precisions", ())])
            reasons.setdefault(f"{r['part']}, {r['failed'].rstrip(':')}", []).append(what)
    return [f"{reason}: {', '.join(names)}" for reason, names in reasons.items()]


def summary(rows: list[Row]) -> str:
    """The first line: checks that hold, and what recording gains."""
    checks = [r["holds"] for r in of_part(rows, "checks") if r["holds"] is not None]
    ms = {(r["size"], r["precision"], r["way"]): r["ms"] for r in of_part(rows, "speed")}
    gains = [ms[*key, "off"] / value for (*key, way), value in ms.items() if way != "off" and (*key, "off") in ms]
    lines = [f"{sum(checks)} of {len(checks)} checks hold."] if checks else []
    if gains:
        lines.append(
            f"Recorded or compiled updates take {min(gains):.1f} to {max(gains):.1f} times less time than others."
        )
    return " ".join(lines)


def page(rows: list[Row], machine: Row) -> str:
    """The whole of ``table.md``."""
    about = f"torch {machine['torch']}, Python {machine['python']}, commit {machine['git']}, {machine['date']}"
    parts = [f"# {machine['device']}", about, summary(rows)]
    if of_part(rows, "checks"):
        parts += ["## Is it right?", check_table(rows)]
    if of_part(rows, "speed"):
        note = (
            "ms: median time between the ends of two updates, on the device's clock. MB: set aside on the device. "
            "of peak: of the card's own matrix products in the same precision, measured in the same run."
        )
        parts += ["## What does an update cost?", note, speed_table(rows)]
    if lines := other_lines(rows):
        parts += ["## The card, runs, the loop, rendering", "\n".join(f"- {line}" for line in lines)]
    if lines := failures(rows):
        parts += ["## Not measured", "\n".join(f"- {line}" for line in lines)]
    return "\n\n".join(parts) + "\n"


def profile_text(rows: list[Row]) -> str:
    """The longest kernels of each measured update."""
    parts = []
    for r in speeds(rows):
        if "longest" not in r:
            continue
        head = f"{r['size']}, {r['way']}, {r['precision']}: {r['ms']:.2f} ms, kernels {r['kernel_ms']:.2f} ms"
        lines = [f"  {k['ms']:9.3f} ms  {k['calls']:8.1f} ×  {k['kernel']}" for k in r["longest"]]
        parts.append("\n".join([head, *lines]))
    return "\n\n".join(parts) + "\n"


def losses_csv(rows: list[Row]) -> str:
    """Losses of the runs, one line a metric row."""
    found = [r for r in of_part(rows, "run") if r["what"] == "losses"]
    columns = list(dict.fromkeys(k for r in found for k in r if k not in ("part", "name", "what", "prepared_s")))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()
