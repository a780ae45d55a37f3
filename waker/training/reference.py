"""The policies of a reference run as sources of held-out trajectories; see :mod:`waker.evaluation.sources`.

Called before a run is trained or evaluated, so that a reference that cannot be used is told before anything is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from waker.analysis.source_means import RANDOM
from waker.behaviour.player import ModelPlayer
from waker.collection.family import Family
from waker.config.schema import Config
from waker.errors import UserError
from waker.evaluation.sources import Source
from waker.exploration.registry import explorer_class
from waker.protocols import EXPLORER
from waker.storage.run_search import one_run
from waker.storage.state_shapes import tensors_of
from waker.training.loading import LoadedRun, load_run, task_player


def held_out_sources(config: Config, family: Family, note: Callable[[str], None]) -> tuple[Source, ...]:
    """Who acts in the held-out episodes of a run, in the order of ``evaluation.sources``.

    Without a reference that is random actions alone, whatever else is named.

    Args:
        config: ``evaluation`` and ``device``.
        family: of the run that is measured.
        note: told in one line of a damaged checkpoint of the reference that is passed over.

    Raises:
        UserError: the reference is no finished run of the same family, or has no policies of a source that is named.
    """
    settings = config.evaluation
    if not settings.reference or set(settings.sources) == {RANDOM}:
        return (Source(RANDOM),)
    try:
        folder = one_run(Path(settings.reference))
    except UserError as error:
        named = "`waker train --evaluation.reference` or `waker evaluate --reference`"
        raise UserError(f"evaluation.reference: {error}; if it was moved, name its new place: {named}") from error
    with torch.random.fork_rng(devices=[]):  # an agent is made with random weights before the saved ones are loaded
        loaded = load_run(folder, note, config.device, settle=False)
    _check(loaded, config, family)
    about = f"{loaded.run.name} at step {loaded.step}, weights {fingerprint(loaded.state['agent'])}"
    makers = {RANDOM: lambda: Source(RANDOM), "explorer": lambda: _explorer(loaded, about)}
    makers["tasks"] = lambda: _tasks(loaded, about)
    return tuple(makers[name]() for name in settings.sources)


def fingerprint(tree: Any) -> str:
    """Eight digits that change with any tensor of nested mappings and lists."""
    digest = hashlib.sha256()
    for tensor in tensors_of(tree):
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:8]


def _check(loaded: LoadedRun, config: Config, family: Family) -> None:
    path = config.evaluation.reference
    if not loaded.state.get("finished"):
        raise UserError(
            f"evaluation.reference {path} is not finished (step {loaded.step:,}): its policies would change while runs "
            "are compared; finish it with the command that began it"
        )
    if loaded.config.env != config.env:
        raise UserError(f"evaluation.reference {path} is a run of {loaded.config.env}, not of {config.env}")
    theirs, ours = loaded.family.spaces, family.spaces
    for key in [*ours, *(k for k in theirs if k not in ours)]:
        if theirs.get(key) != ours.get(key):
            raise UserError(
                f"evaluation.reference {path} has {key} = {theirs.get(key, 'nothing')}, this run has "
                f"{ours.get(key, 'nothing')}: its policies cannot act here"
            )


def _explorer(loaded: LoadedRun, about: str) -> Source:
    if explorer_class(loaded.config.explorer.name).acts_at_random:
        return Source(EXPLORER, about=f"explorer (uniform random) of {about}")
    agent = loaded.agent
    # Not agent.explorer(): on a GPU that one may be recorded for one number of slots.
    player = ModelPlayer(agent.model, agent.policy_learner.policies, agent.precision)
    return Source(EXPLORER, player, (player.names.index(EXPLORER),), about=f"explorer of {about}")


def _tasks(loaded: LoadedRun, about: str) -> Source:
    player = task_player(loaded.agent)
    if player is None:
        raise UserError(
            f"evaluation.reference {loaded.run.path} has no task policies (it was trained without): name the others, "
            "--evaluation.sources random explorer"
        )
    spec = loaded.family.spec
    names = [name for name in player.names if name in spec.tasks]
    members, domains = tuple(map(player.names.index, names)), tuple(map(spec.domain_of, names))
    return Source("tasks", player, members, domains, about=f"policies of {', '.join(names)} of {about}")
