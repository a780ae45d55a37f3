"""Going on beyond the end of a run: what a longer run would not have done is taken back, and told.

Called by :meth:`waker.training.session.Session.resume`. Up to where exploration ended a longer run is the same run;
but task policies that were trained afterwards drew from its streams, and a longer run trains them later, from more.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from waker.config.schema import Config, OptimizerConfig, TrainConfig

CHANGED = ("streams", "means", "torch")
"""What training task policies changes of a session's state, but for the policies themselves."""


def standing(state: Mapping[str, Any], train: TrainConfig) -> tuple[bool, bool]:
    """Where a session's state stands for what is asked for now.

    Returns:
        Whether it is a finished run's still; and whether its task policies are given up: there is more to explore than
        when they were trained, or their metrics have a row at their end that a longer adaptation has not.
    """
    explores, finished = int(state["collector"]["step"]) < train.steps, bool(state["finished"])
    adapts = train.task_policies == "after" and state["adapted"] < train.adapt_updates
    # Where adaptation ends its metrics are logged, though a longer one would not have done so there.
    logged_early = finished and adapts and state["adapted"] % train.log_every > 0
    return finished and not explores and not adapts, (explores or logged_early) and state["adapted"] > 0


def before_adapting(state: Mapping[str, Any], sinks: Mapping[str, Any]) -> dict[str, Any]:
    """What a session keeps of its ``state`` and its ``sinks``' when it begins to train task policies."""
    return copy.deepcopy({"state": {key: state[key] for key in CHANGED}, "sinks": dict(sinks)})


def kept_before_adapting(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same, from a checkpoint; None where no task policies had been trained, or an earlier version did not keep it.

    What sinks were at is among the checkpoint's ``logs``, as that has bytes of rows with times in them.
    """
    kept = state.get("before_adapting")
    return None if kept is None else {"state": kept, "sinks": state["logs"]["before_adapting"]}


def taken_back(state: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The state of a session as it was before its task policies were trained, the learner's own state left as it is.

    Returns:
        The state, and whether it is that exactly: not of a run of an earlier version, which kept no streams.
    """
    kept = kept_before_adapting(state) or {"state": {}, "sinks": state["logs"]["sinks"]}
    logs = {**state["logs"], "sinks": kept["sinks"]}
    return {**state, **kept["state"], "logs": logs, "adapted": 0, "before_adapting": None}, bool(kept["state"])


def past_schedules(config: Config, updates: int) -> list[str]:
    """A line for each learning rate whose schedule ends before the run does.

    Args:
        config: of the longer run.
        updates: that it makes in all while it explores.
    """
    sections: dict[str, OptimizerConfig] = {
        "model.optimizer": config.model.optimizer,
        "explorer.optimizer": config.explorer.optimizer,
        "behaviour.actor_optimizer": config.behaviour.actor_optimizer,
        "behaviour.critic_optimizer": config.behaviour.critic_optimizer,
    }
    return [
        f"{name}.anneal ends at update {c.anneal:,} of {updates:,}: from there the rate stays {c.anneal_to:g} × lr, as "
        "it would in a run asked for as much at the start"
        for name, c in sections.items()
        if 0 < c.anneal < updates
    ]


def told(growth: Mapping[str, tuple[int, int]], step: int, adapted: bool, exact: bool) -> str:
    """One line about a run that is asked for more: from where it goes on, and as what.

    Args:
        growth: see :func:`waker.config.same_run.growth`.
        step: from which it goes on.
        adapted: whether task policies are given up.
        exact: see :func:`taken_back`.
    """
    asked = ", ".join(f"{key} is {now:,} now and was {then:,}" for key, (then, now) in growth.items())
    again = "; its task policies are given up and trained anew at the end" if adapted else ""
    same = (
        "training goes on as if that had been asked for at the start"
        if exact
        else "its streams have moved on since it explored (saved by an earlier version), so it is another sample"
    )
    return f"{asked}: going on beyond step {step:,}{again}; {same}, and config.yaml records it (`extended`)"
