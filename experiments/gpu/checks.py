"""Is what a device computes right? Each check yields rows: a quantity, its deviation, the bound, the verdict."""

from __future__ import annotations

import copy
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from experiments.reference_step import compare
from tests.helpers.tiny_learner import ALL_KINDS, tiny_batch, tiny_config, tiny_spec
from waker.agent.agent import Agent
from waker.config.presets import preset
from waker.config.schema import Config
from waker.machine.cuda_graphs import recorder_for
from waker.machine.device import use_threads
from waker.machine.precision import use_tf32
from waker.model.distributions import sample_onehot
from waker.storage.checkpoint import Checkpoints
from waker.terminal.progress import Progress
from waker.terminal.signals import Interrupted
from waker.training.build import train_run

Row = dict[str, Any]
REFERENCES = Path(__file__).parents[2] / "tests" / "reference"
FIRST_METRICS = 1e-4
"""Relative deviation of any metric of a first update: float32 sums of some hundred terms in another order."""
MOVED = 1e-2
"""A weight counts as moved elsewhere past this share of the learning rate …"""
SHARE_MOVED = 1e-2
"""… and so many may be: Adam divides by √v, so a gradient of rounding size moves its weight a whole step anywhere."""
BF16 = 0.02
"""Relative deviation of any loss of a first update; bfloat16 has 8 bits, 0.004, and errors add up over layers."""


def check(
    device: str, name: str, ways: tuple[str, ...], precisions: tuple[str, ...], quick: bool
) -> Callable[[], Iterator[Row]]:
    """The check called ``name`` (``all``: each of them, but for compiled updates), with products in float32."""
    use_threads(device)
    use_tf32(False)
    torch.manual_seed(0)
    checks: dict[str, Callable[[], Iterator[Row]]] = {
        "reference": lambda: reference(device),
        "compiled": lambda: compiled(device, ways[0]),
        "bf16": lambda: bf16(device),
        "synchronisation": lambda: synchronisation(device),
        "recorded": lambda: recorded(device),
        "resume": lambda: resume(device),
        "draws": lambda: draws(device),
    }
    if name == "all":  # but for the ones that compile
        return lambda: (found for each, made in checks.items() if each != "compiled" for found in made())
    return checks[name]


def row(quantity: str, deviation: float, bound: float | None) -> Row:
    """One row; without a bound it is told and not judged."""
    holds = None if bound is None else bool(deviation <= bound)
    return {"quantity": quantity, "deviation": deviation, "bound": bound, "holds": holds}


# The published step ---------------------------------------------------------------------------------------------------


def reference(device: str) -> Iterator[Row]:
    """The recorded steps of the published code, at the bounds of :mod:`experiments.reference_step`."""
    for path in sorted(REFERENCES.glob("step_*.npz")):
        found = compare(path, device)
        for name, deviation, bound in found.worst():
            yield row(f"{path.stem}: worst of {len(found.rows)}, {name}", deviation, bound)
        yield row(f"{path.stem}: quantities past their bounds", float(len(found.failed)), 0.0)
        for name, deviation, bound in found.failed[:8]:
            yield row(f"{path.stem}: {name}", deviation, bound)


# Ways and precisions against the plain update -------------------------------------------------------------------------


def agent_of(recipe: str, device: str, way: str = "off", precision: str = "fp32", after: bool = False) -> Agent:
    """A tiny agent with every kind of observation; discrete actions with ``laptop``, continuous with ``authors``."""
    spec = tiny_spec(kinds=ALL_KINDS, discrete=recipe == "laptop")
    config = tiny_config(recipe, after=after)
    train = replace(config.train, compile=way, precision=precision)  # type: ignore[arg-type]
    torch.manual_seed(0)
    return Agent(spec, replace(config, train=train), device)


def batch_of(agent: Agent, seed: int = 0) -> dict[str, Tensor]:
    """An arbitrary batch on the agent's device."""
    return {name: value.to(agent.device) for name, value in tiny_batch(agent.spec, seed=seed).items()}


def records(device: str) -> bool:
    """Whether updates can be recorded there; elsewhere ``graphs`` is the eager update."""
    return recorder_for(torch.device(device)) is not None


def leaves(value: Any) -> list[Tensor]:
    """The tensors of a nest."""
    return [x for x in pytree.tree_leaves(value) if isinstance(x, Tensor)]


def worst_metric(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], only: str = "") -> float:
    """The largest deviation of a metric, relative to its largest entry or one."""
    assert found.keys() == expected.keys(), set(found) ^ set(expected)
    return max(
        float((found[name] - value).abs().max() / value.abs().max().clamp_min(1.0))
        for name, value in expected.items()
        if only in name
    )


def moved_elsewhere(ours: Agent, theirs: Agent) -> float:
    """The share of the model's weights that lie further apart than :data:`MOVED` of the learning rate."""
    rate = ours.config.model.optimizer.lr / max(ours.config.model.optimizer.warmup, 1)
    pairs = zip(ours.model.parameters(), theirs.model.parameters(), strict=True)
    apart = torch.cat([((a - b).abs() > MOVED * rate).flatten() for a, b in pairs])
    return float(apart.float().mean())


def compiled(device: str, way: str) -> Iterator[Row]:
    """The first update by ``way`` beside the eager one, by modes in place of samples; three more must stay finite."""
    for recipe in ("laptop", "authors"):
        eager, other = (agent_of(recipe, device, choice) for choice in ("off", way))
        batch = batch_of(eager)
        (_, expected), (credit, found) = (agent.update(batch, True) for agent in (eager, other))
        yield row(f"{recipe}, {way}: worst metric of an update", worst_metric(found, expected), FIRST_METRICS)
        yield row(f"{recipe}, {way}: share of weights elsewhere", moved_elsewhere(other, eager), SHARE_MOVED)
        for seed in range(1, 4):
            credit, found = other.update(batch_of(eager, seed), True)
            found = {name: value.clone() for name, value in found.items()}
        lost = sum(not bool(torch.isfinite(x).all()) for x in (credit.error, *found.values()))
        yield row(f"{recipe}, {way}: metrics not finite after four updates", float(lost), 0.0)


def bf16(device: str) -> Iterator[Row]:
    """Losses of the first update in bf16 beside fp32."""
    for recipe in ("laptop", "authors"):
        exact, lowered = (agent_of(recipe, device, precision=precision) for precision in ("fp32", "bf16"))
        batch = batch_of(exact)
        (_, expected), (_, found) = (agent.update(batch, True) for agent in (exact, lowered))
        yield row(f"{recipe}: worst loss in bf16", worst_metric(found, expected, "loss"), BF16)


def synchronisation(device: str) -> Iterator[Row]:
    """Updates while torch raises wherever the host would wait for the device (CUDA only)."""
    if torch.device(device).type != "cuda":
        return  # a processor never waits for itself
    for way in ("off", "graphs"):
        for precision in ("fp32", "bf16"):
            agent = agent_of("laptop", device, way, precision, after=True)
            batch = batch_of(agent)
            for _ in range(2):  # recordings are made outside: making one may wait
                agent.update(batch)
                agent.adapt_update(batch)
            torch.cuda.set_sync_debug_mode("error")
            try:
                for _ in range(2):
                    agent.update(batch)
                    agent.adapt_update(batch)
                waits, why = 0.0, ""
            except RuntimeError as error:
                waits, why = 1.0, " ".join(str(error).split())[:200]
            finally:
                torch.cuda.set_sync_debug_mode("default")
            yield row(f"{way}, {precision}: updates in which the host waits {why}".strip(), waits, 0.0)


def recorded(device: str) -> Iterator[Row]:
    """Three recorded updates beside three eager ones, random draws included; and eager ones beside themselves."""
    for recipe, after in (("laptop", True), ("authors", False)):
        ways = {"eager beside itself": "off"} | ({"recorded beside eager": "graphs"} if records(device) else {})
        eager = three_updates(recipe, device, "off", after)
        for name, way in ways.items():
            pairs = list(zip(eager, three_updates(recipe, device, way, after), strict=True))
            deviation = max(float((a.double() - b.double()).abs().max()) for a, b in pairs if a.numel())
            yield row(f"{recipe}: {name}, largest difference", deviation, 0.0)


def three_updates(recipe: str, device: str, way: str, after: bool) -> list[Tensor]:
    """Everything that three updates leave: weights, moments, metrics, credit."""
    agent, kept = agent_of(recipe, device, way, after=after), []
    torch.manual_seed(1)
    for seed in range(3):
        batch = batch_of(agent, seed)
        credit, metrics = agent.update(batch)
        kept += copy.deepcopy(leaves([list(credit), metrics]))
        if after:
            kept += copy.deepcopy(leaves(agent.adapt_update(batch)))
    return kept + leaves(agent.state_dict())


def draws(device: str) -> Iterator[Row]:
    """Frequencies of a million draws from one categorical, in standard errors; five are past chance."""
    n, probs = 1_000_000, torch.tensor([0.5, 0.3, 0.15, 0.04, 0.009, 0.001, 0.0], device=device)
    torch.manual_seed(0)
    found = sample_onehot(probs.log().expand(n, -1)).double().mean(0)
    errors = (found - probs).abs() / (probs * (1 - probs) / n).sqrt().clamp_min(1e-12)
    yield row("sampled frequencies, worst of seven classes in standard errors", float(errors.max()), 5.0)


# A run that was stopped -----------------------------------------------------------------------------------------------


class StopsAt(Progress):
    """Asks the run to stop once it has made so many updates; 0 = never."""

    def __init__(self, updates: int) -> None:
        super().__init__("check", 1, quiet=True)
        self._at = updates

    def update(self, step: int, updates: int, *rest: Any) -> None:
        """Told of every unit of work."""
        if self._at and updates >= self._at:
            self._at = 0
            os.kill(os.getpid(), signal.SIGTERM)


def resume(device: str) -> Iterator[Row]:
    """A run stopped and gone on with, beside the uninterrupted one: the final checkpoint's tensors."""
    base = replace(preset("tiny"), device=device, sinks=("jsonl",))
    for way in ("off", "graphs") if records(device) else ("off",):
        train = replace(base.train, compile=way, task_policies="after")  # type: ignore[arg-type]
        config = replace(base, train=train)
        with tempfile.TemporaryDirectory() as folder:
            whole = final_state(config, Path(folder) / "whole", 0)
            again = final_state(config, Path(folder) / "again", 0)
            stopped = final_state(config, Path(folder) / "stopped", 3)
        for name, other in (("two runs of a seed", again), ("stopped and gone on with", stopped)):
            pairs = zip(whole, other, strict=True)
            deviation = max(float((a.double() - b.double()).abs().max()) for a, b in pairs if a.numel())
            yield row(f"{way}: {name}, largest difference of a tensor", deviation, 0.0)


def final_state(config: Config, runs: Path, stop_at: int) -> list[Tensor]:
    """The agent in the last checkpoint of a run that was stopped once (or not, with 0)."""
    try:
        _, folder = train_run(config, runs, StopsAt(stop_at))
    except Interrupted:
        _, folder = train_run(config, runs, StopsAt(0))
    checkpoints = Checkpoints(folder / "checkpoints")
    return leaves(checkpoints.load(checkpoints.paths()[0])["agent"])
