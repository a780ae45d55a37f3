"""The reward head that an audit looks at, and what it was before it had learned. Called by :mod:`.audit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from waker.agent.direct_policy import DirectPolicy
from waker.agent.task_adapter import TaskAdapter
from waker.errors import UserError, unknown
from waker.model.preference_heads import PreferenceHeads
from waker.model.reward_heads import RewardHeads
from waker.seeding import seed_for, torch_seed
from waker.storage.sealed import read_json
from waker.training.adapt import adapted_sets, load_adapted
from waker.training.adapt_preferences import load_taught
from waker.training.adapted import digest_of
from waker.training.loading import LoadedRun

ADAPTED_STREAM = 1
"""Where :class:`waker.training.adapt.Adaptation` draws the weights that policies and their heads begin with."""


@dataclass(frozen=True)
class Member:
    """One reward of a stack of heads."""

    heads: RewardHeads
    number: int

    @torch.no_grad()
    def rewards(self, given: Tensor) -> Tensor:
        """Of what heads see of steps, (..., inputs) → (...)."""
        found = self.heads.predict(given.flatten(0, -2).unsqueeze(0))
        return found[self.number].unflatten(0, given.shape[:-1])


@dataclass(frozen=True)
class AuditedHead:
    """What is audited.

    Attributes:
        name: of the task that the head is for.
        now: the head.
        before: as it was before it learned anything, or that of an earlier task (``--before``).
        preferences: it was taught by answers.
        before_name: of the earlier task; empty = the head's own beginning.
        record: its ``head.json``; empty where there is none.
        adapted: its policy was trained by ``waker adapt``.
        policy: digest of that policy's state; empty where it is the run's own.
    """

    name: str
    now: Member
    before: Member
    preferences: bool
    before_name: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    adapted: bool = True
    policy: str = ""


def find_head(loaded: LoadedRun, name: str, before: str, note: Callable[[str], None]) -> AuditedHead:
    """The head to audit.

    Args:
        name: of its task; empty = the one that was taught by preferences last.
        before: task whose head it is compared with; empty = its own beginning.

    Raises:
        UserError: there is none, or none of that name.
    """
    found = _found(loaded, name, note)
    if not before:
        return found
    earlier = _found(loaded, before, note)
    return replace(found, before=earlier.now, before_name=before)


class _Headless(UserError):
    """A policy has no reward head that could be looked at, or none whose beginning is known."""


def _found(loaded: LoadedRun, name: str, note: Callable[[str], None]) -> AuditedHead:
    why = ""
    names: list[str] = [*loaded.family.spec.tasks]
    for folder, record in reversed(adapted_sets(loaded.run.path)):
        if record["model"]["updates"] != loaded.updates:
            continue
        names += record["tasks"]
        taught = "preferences" in record
        if name not in record["tasks"] if name else not taught:
            continue
        try:
            head = _adapted(loaded, folder, record, name or record["tasks"][0], note)
        except _Headless as error:
            if name:
                raise
            why = why or str(error)
            continue
        if head is not None:
            if why:
                note(f"{why}; the head for {head.name} was taught before, and is looked at")
            return head
    if why:
        raise UserError(f"{why}; --head names a reward task, or `waker adapt` the answers by --method head")
    if not name:
        raise UserError(
            f"{loaded.run.path} has no policy that was taught by preferences: `waker ask` it, `waker answer` the "
            "queries and `waker adapt` to them with --preferences; or --head names a reward task"
        )
    if name not in loaded.family.spec.tasks:
        raise unknown("head", name, names)
    number = loaded.family.spec.tasks.index(name)
    policies = loaded.agent.adapter
    heads = loaded.agent.model.rewards if policies is None else policies.heads
    with torch_seed(seed_for(loaded.config.seed, "torch", ADAPTED_STREAM)):
        fresh = RewardHeads(
            len(loaded.family.spec.tasks),
            loaded.agent.model.rssm.features,
            loaded.family.spec.action.dim,
            loaded.config.model,
        )
    return AuditedHead(name, Member(heads, number), Member(_beside(fresh, heads), number), False, adapted=False)


def _adapted(
    loaded: LoadedRun, folder: Path, record: Mapping[str, Any], name: str, note: Callable[[str], None]
) -> AuditedHead | None:
    """The head of one folder of ``waker adapt``; None where nothing has been saved yet."""
    taught = "preferences" in record
    number = record["tasks"].index(name)
    if taught:
        adapter = load_taught(loaded, folder, record, note)
    else:
        adapter = load_adapted(loaded, folder, record["tasks"], note)
    if adapter is None:
        return None
    if not isinstance(adapter, TaskAdapter | DirectPolicy):
        raise _Headless(
            f"{name} was taught by method {record['preferences']['method']}, which is none of this package's: what its "
            "head was before it learned cannot be drawn again, so it is not audited"
        )
    if adapter.heads is None:
        raise _Headless(
            f"{name} was taught by method {record['preferences']['method']}, which makes a policy of the answers "
            "without a reward head: there is nothing to audit"
        )
    file = folder / "head.json"
    about = read_json(file) if taught and file.is_file() else {}
    fresh = beginning(loaded, adapter, record["tasks"])
    now, before = Member(adapter.heads, number), Member(fresh, number)
    return AuditedHead(name, now, before, taught, record=about, policy=digest_of(adapter))


def beginning(loaded: LoadedRun, adapter: TaskAdapter | DirectPolicy, tasks: list[str]) -> RewardHeads:
    """The heads that an adaptation began with, drawn again: the same seed makes the same weights.

    Heads of preferences are the first that any of our methods draws.
    Of reward tasks fresh ones, which know nothing, also where the adaptation began with those of the model.
    """
    model, spec = loaded.agent.model, loaded.family.spec
    with torch_seed(seed_for(loaded.config.seed, "torch", ADAPTED_STREAM)):
        if isinstance(adapter.heads, PreferenceHeads):
            members = PreferenceHeads(adapter.heads.size, model.rssm.features, spec.action.dim, loaded.config.model)
            return _beside(members, adapter.heads)
        assert adapter.heads is not None
        fresh = RewardHeads(len(tasks), model.rssm.features, spec.action.dim, loaded.config.model)
    return _beside(fresh, adapter.heads)


def _beside(fresh: RewardHeads, heads: RewardHeads) -> RewardHeads:
    return fresh.to(next(heads.parameters()).device)
