"""Records of what the learner measured, for curricula that ask for them: when they are made, and what they cost.

Made by :class:`waker.training.session.Session`. What is measured is in :mod:`waker.agent.evidence_maker`, what a record
holds in :mod:`waker.curriculum.evidence`. A curriculum that asks for nothing gets none, and its run is as it would be
without this file.

Nothing is recorded before the first update: a model that has learned nothing measures nothing. Chance comes from the
run's seed and a count of records, so that training's own stays as it is and a resumed run makes the same records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from waker.agent.agent import MeasuredCredit
from waker.agent.evidence_maker import APART, STEP_LOSS
from waker.collection.episode import Episode
from waker.collection.family import Family
from waker.collection.replay_gate import Finished, ReplayGate
from waker.collection.slot_group import slot_group
from waker.config.schema import Config
from waker.curriculum import Curriculum, Evident
from waker.curriculum.api import stages
from waker.curriculum.evidence import (
    EPISODE_FIELDS,
    NOTHING,
    UPDATE_FIELDS,
    EpisodeEvidence,
    EpisodeKind,
    Evidence,
    check_given,
)
from waker.machine.compile_costs import processor_seconds
from waker.protocols import Credit, Learner
from waker.replay.ring import Replay
from waker.seeding import generator_for, seed_for
from waker.training.heldout import Heldout
from waker.training.work_due import Every

if TYPE_CHECKING:
    from waker.agent.agent import Agent

_LOOK_AFTER = 256
"""θ by number after which those that have left the replay are looked for."""


class Recording:
    """A run's records.

    Args:
        curriculum: who may ask.
        learner: who measures.
        family: of the environments.
        config: of the run.

    Attributes:
        needs: what the curriculum reads.
        updates: updates so far, to be kept up to date by the session.
        seconds: processor seconds that records have taken, but for by-products of updates.
    """

    def __init__(self, curriculum: Curriculum, learner: Learner, family: Family, config: Config) -> None:
        self._curriculum, self._learner, self._family, self._config = curriculum, learner, family, config
        self.needs = curriculum.needs if isinstance(curriculum, Evident) else NOTHING
        self.store = Heldout(self.needs.heldout_each)
        self.updates, self.seconds, self.made = 0, 0.0, 0
        self._clock = Every(self.needs.heldout_every if self.needs.heldout > 0 else 0)
        self._apart: dict[str, NDArray[Any]] = {}
        self.thetas: dict[int, NDArray[np.float64]] = {}  # of a continuous space, by the number of their draw
        self._replay: Replay | None = None  # whose steps they are looked up for
        if self.needs.update:
            self._agent.measure(self.needs.update - APART)

    @property
    def _agent(self) -> Agent:
        return cast("Agent", self._learner)

    @property
    def active(self) -> bool:
        """Whether anything is recorded."""
        return bool(self.needs)

    def gate(self, replay: Replay) -> ReplayGate | None:
        """The collector's gate, where episodes are read or kept aside."""
        self._replay = replay
        if not (self.needs.episode or stages(self._curriculum)):
            return None
        rng = generator_for(self._config.seed, "heldout")
        share, whole = self.needs.heldout, bool(self.needs.episode)
        return ReplayGate(replay, rng, share, lambda: self.updates > 0, whole, self.store.count)

    # Updates ------------------------------------------------------------------------------------------------------

    @property
    def _recorded(self) -> bool:
        """Whether the next update is."""
        return bool(self.needs.update) and self.updates % self.needs.every == 0

    def before_update(self, batch: Mapping[str, Tensor]) -> None:
        """Measure what is computed apart from an update, by the weights before it."""
        if self._recorded and (asked := self.needs.update & APART):
            with self._counted():
                self._apart = self._agent.evidence.apart(asked, batch, self._seed())

    def after_update(self, credit: Credit, step: int) -> None:
        """Tell the curriculum of an update; before it observes the credit, and before the update is counted."""
        if not self._recorded:
            return
        with self._counted():
            measured = credit.measured if isinstance(credit, MeasuredCredit) else {"theta_id": credit.theta_id}
            fields: dict[str, Any] = {name: _numbers(x) for name, x in measured.items()} | self._apart
            self._apart = {}
            theta_id = fields.pop("theta_id")
            fields.pop(STEP_LOSS, None)
            fields |= {n: x.astype(np.int64) for n, x in fields.items() if n.endswith("_id")}
            behaviour = self._config.behaviour
            fields |= {"discount": behaviour.discount, "trace": behaviour.lambda_, "theta": self._thetas_of(theta_id)}
            record = Evidence(step=step, theta_id=theta_id.astype(np.int64), **fields)
        assert isinstance(self._curriculum, Evident)
        self._curriculum.learn(record)

    def _thetas_of(self, ids: NDArray[Any]) -> NDArray[np.float64] | None:
        """θ of start states (N, D) in a continuous space, NaN where the id is of no draw; None in a finite one."""
        if self._family.space.size is not None:
            return None
        unknown = np.full(self._family.space.dim, np.nan)
        return np.array([self.thetas.get(i, unknown) for i in ids.tolist()]).reshape(len(ids), len(unknown))

    def chosen(self, episode: Episode) -> None:
        """Remember the θ of an episode, where an id is the number of a draw from a continuous space."""
        if self.needs.update and self._family.space.size is None and episode.theta_id >= 0:
            self.thetas[episode.theta_id] = np.array(episode.theta)
            if len(self.thetas) % _LOOK_AFTER == 0:
                self._forget_old()

    def _forget_old(self) -> None:
        """Drop θ of draws before the oldest whose steps the replay holds: no batch can meet them any more.

        Numbers only grow, so that an episode that is being played is newer than any that has left the replay.
        """
        if self._replay is None or self._replay.ticks <= self._replay.size:
            return  # nothing has been overwritten
        held = self._replay.arrays["theta_id"]
        if (held >= 0).any():
            oldest = int(held[held >= 0].min())
            self.thetas = {i: theta for i, theta in self.thetas.items() if i >= oldest}

    # Episodes -----------------------------------------------------------------------------------------------------

    def episode(self, finished: Finished, step: int) -> None:
        """Tell the curriculum of an episode that has just ended; a held-out one is stored, and told in rounds."""
        if not self.needs.episode or self.updates == 0:
            return
        if finished.kind == "heldout":
            self.store.add(finished)
        elif finished.kind in self.needs.kinds:
            self._tell(finished, finished.kind, step)

    def due(self, step: int) -> bool:
        """Whether it is time to measure held-out episodes again."""
        return self._clock.due(step)

    def measure_heldout(self, step: int) -> None:
        """A round: measure all of them by the present model."""
        left = Counter(finished.episode.theta_id for finished in self.store)
        for finished in self.store:
            theta_id = finished.episode.theta_id
            left[theta_id] -= 1
            self._tell(finished, "heldout", step, left[theta_id] if theta_id >= 0 else 0)
        self._clock.mark(step)

    def _tell(self, finished: Finished, kind: EpisodeKind, step: int, left: int = 0) -> None:
        with self._counted():
            record = self._record(finished, kind, step, left)
        assert isinstance(self._curriculum, Evident)
        self._curriculum.learn_episode(record)

    def _record(self, finished: Finished, kind: EpisodeKind, step: int, left: int) -> EpisodeEvidence:
        episode, behaviour = finished.episode, self._config.behaviour
        task = self._task(episode.theta_id)
        fields: dict[str, Any] = dict(
            self._agent.evidence.of_episode(self.needs.episode, finished.records, self._seed(), task)
        )
        if "success" in self.needs.episode:
            fields["success"] = float(finished.completion[task]) if task is not None else np.nan
        return EpisodeEvidence(
            step=step,
            theta=np.array(episode.theta),
            theta_id=episode.theta_id,
            steps=len(finished.records["is_first"]) - 1,
            kind=kind,
            left=left,
            discount=behaviour.discount,
            trace=behaviour.lambda_,
            **fields,
        )

    def _task(self, theta_id: int) -> int | None:
        """The first task that exists in a θ's domain, by its number; None where none does."""
        here, spec = self._family.domain_of(theta_id), self._family.spec
        exist = (k for k, task in enumerate(spec.tasks) if here is None or spec.domain_of(task) in (None, here))
        return next(exist, None)

    # Account ------------------------------------------------------------------------------------------------------

    def _seed(self) -> int:
        self.made += 1
        return seed_for(self._config.seed, "evidence", self.made)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        began = processor_seconds()
        try:
            yield
        finally:
            self.seconds += processor_seconds() - began

    def metrics(self, gate: ReplayGate | None) -> dict[str, float]:
        """For a row of metrics; none of a run without records."""
        found = {"time/evidence_cpu_seconds": self.seconds} if self.active else {}
        if gate is not None:
            found |= {f"replay/{kind}_steps": float(gate.steps[kind]) for kind in ("staged", "heldout")}
        return found

    def state_dict(self) -> dict[str, Any]:
        """Counts, held-out episodes, and θ by number."""
        numbers, dim = np.array(sorted(self.thetas), np.int64), self._family.space.dim
        return {
            "made": self.made,
            "passed": self._clock.passed,
            "store": self.store.state_dict(),
            "numbers": numbers,
            "thetas": np.array([self.thetas[i] for i in numbers.tolist()]).reshape(len(numbers), dim),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.made, self._clock.passed = int(state["made"]), int(state["passed"])
        self.store.load_state_dict(state["store"])
        numbers = np.asarray(state["numbers"]).tolist()
        self.thetas = dict(zip(numbers, np.asarray(state["thetas"], np.float64), strict=True))


def check_needs(config: Config, family: Family, curriculum: Curriculum, agent: Agent) -> None:
    """Check that everything a curriculum reads can be measured.

    Raises:
        UserError: something cannot; it says why.
    """
    if not isinstance(curriculum, Evident) or not curriculum.needs:
        return
    needs = curriculum.needs
    missing = agent.evidence.missing(family.spec.tasks, needs.update)
    if "success" in needs.episode and not reports_completion(family):
        missing["success"] = f"{config.env} reports no info['completion']; choose an environment that does"
    update, episode = UPDATE_FIELDS - missing.keys(), EPISODE_FIELDS - missing.keys()
    check_given(config.curriculum.sampler, needs, update, episode, missing)


def reports_completion(family: Family) -> bool:
    """Whether a step of the environment says how far a task is done: one random step of one episode is made."""
    rng = np.random.default_rng(0)
    theta = family.space.sample(rng, 1)[0]
    with slot_group(family, 1) as slots:
        slots.advance({0: family.episode(theta, 0, "")}, {})
        (step,) = slots.advance({}, {0: family.spec.action.random(rng, 1)[0]}).values()
    return step.completion is not None and bool(np.isfinite(step.completion).any())


def _numbers(x: Tensor) -> NDArray[Any]:
    array = x.detach().cpu().numpy()
    return array.astype(np.float64) if array.dtype.kind == "f" else array
