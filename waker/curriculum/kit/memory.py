"""Checks of what a sampler remembers: states, readings, and what it hands out or is handed."""

from __future__ import annotations

from typing import Any

import numpy as np

from waker.curriculum.api import Floats, Ints
from waker.curriculum.evidence import EpisodeEvidence, EpisodeKind, Evidence, Needs
from waker.curriculum.kit.base import STRIDES, Kit, alike, fail, law_of, readings, same, through_a_file
from waker.curriculum.kit.world import World
from waker_envs.api import ThetaSpace

_SAVED = (4, 13, 51, 108)
"""Updates after which a state is saved: in the middle of whatever a sampler counts."""
_AFTER = 20
"""Updates for which a restored run must go on as the original."""


def check_state(kit: Kit) -> None:
    """A restored run must read as the original does at once, and go on with the identical draws."""
    for stride in STRIDES:
        whole, drawn, saved = kit.made(), [], {}
        for k in range(max(_SAVED) + _AFTER):
            if k in _SAVED:
                state = whole.state_dict()
                kept = {key: np.copy(value) for key, value in state.items()}
                saved[k] = state, kept, through_a_file(state), readings(whole)
            drawn.append(kit.world.step(whole, stride * k))
        for k, (state, kept, file, read) in saved.items():
            _check_kept(state, kept)
            other, untouched = kit.driven(4, seed=99), {key: np.copy(value) for key, value in file.items()}
            other.load_state_dict(file)
            for name, value in readings(other).items():
                if value is not None and not alike(value, read[name]):
                    fail(
                        f"after load_state_dict() {name} is {value}, and was {read[name]} when the state was saved, "
                        f"{k} updates of {stride} agent steps into a run: it is computed from something that is not "
                        "restored, or was kept from before"
                    )
            for j in range(k, k + _AFTER):
                found = kit.world.step(other, stride * j)
                if found != drawn[j]:
                    fail(
                        f"a curriculum restored from state_dict() {k} updates of {stride} agent steps into a run draws "
                        f"{found} where the original draws {drawn[j]}, {j - k} updates later: something that draws "
                        "depend on is not in the state"
                    )
            for key, value in untouched.items():
                if not np.array_equal(value, file[key], equal_nan=value.dtype.kind == "f"):
                    fail(f"what load_state_dict() was given as {key!r} changed while the curriculum went on; copy it")


def _check_kept(state: Any, kept: Any) -> None:
    for key, value in kept.items():
        if not np.array_equal(value, state[key], equal_nan=np.asarray(value).dtype.kind == "f"):
            fail(f"state_dict()[{key!r}] changed while the curriculum went on; give a copy")


def check_reading(kit: Kit) -> None:
    """Reading changes nothing, at whatever time: neither stored scores, nor when an interval ends.

    A rank transform that masks in place writes −∞ into stored scores; an average that is closed by who asks for it
    takes what is due at the interval's end too early.
    """
    for stride in STRIDES:
        one, two = kit.made(), kit.made()
        for k in range(24):
            found = readings(one)
            if "table()['probability']" in found:
                same(
                    found["table()['probability']"],
                    found["probabilities()"],
                    "the table's column 'probability' differs from probabilities()",
                )
            one.state_dict()
            if kit.world.step(one, stride * k) != kit.world.step(two, stride * k):
                fail(f"calling probabilities(), estimates(), table() and state_dict() {_CHANGED} later draws")
        same(law_of(one), law_of(two), f"calling probabilities(), estimates() and table() {_CHANGED} the law")
        same(one.estimates(), two.estimates(), f"calling probabilities() and table() {_CHANGED} the estimates")


_CHANGED = "in the middle of a run changed"


def check_copies(kit: Kit) -> None:
    """What is handed out may be written to."""
    one, two = kit.driven(12), kit.driven(12)
    for array in (kit.world.drawn(one, 4).points, one.probabilities(), one.estimates(), *one.table().values()):
        if array is not None and np.asarray(array).flags.writeable:
            np.asarray(array)[...] = 0
    two.sample(4)
    what = "writing into what sample(), probabilities(), estimates() or table() returned changed"
    for name in ("estimates", "probabilities"):
        same(getattr(one, name)(), getattr(two, name)(), f"{what} {name}()")
    if kit.world.step(one, 500) != kit.world.step(two, 500):
        fail(f"{what} later draws")


class _Watching(World):
    """A world that keeps the arrays it has handed over, and copies of them."""

    given: list[tuple[str, Any, Any]]

    def __init__(self, space: ThetaSpace) -> None:
        super().__init__(space)
        object.__setattr__(self, "given", [])

    def _kept(self, what: str, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                self.given.append((f"{what}{name}", value, value.copy()))

    def evidence(self, wanted: Needs, ids: Ints, step: int, bad: float | None = None) -> Evidence:
        """See :class:`World`."""
        record = super().evidence(wanted, ids.copy(), step, bad)
        self._kept("Evidence.", vars(record))
        return record

    def episode_evidence(
        self, wanted: Needs, theta: Floats, theta_id: int, step: int, kind: EpisodeKind, bad: float | None = None
    ) -> EpisodeEvidence:
        """See :class:`World`."""
        record = super().episode_evidence(wanted, theta.copy(), theta_id, step, kind, bad)
        self._kept("EpisodeEvidence.", vars(record))
        return record

    def credits(self, ids: Ints, step: int) -> tuple[Ints, Floats]:
        """See :class:`World`."""
        given = super().credits(ids.copy(), step)
        self._kept("observe(…)'s ", dict(zip(("theta_id", "error"), given, strict=True)))
        return given


def check_records(kit: Kit) -> None:
    """Records belong to the learner: they are not written to, and may be overwritten once they have been told."""
    world, one, two = _Watching(kit.space), kit.made(), kit.made()
    for k in range(24):
        drawn = world.step(one, 10 * k)
        for name, value, before in world.given:
            if not np.array_equal(value, before, equal_nan=value.dtype.kind == "f"):
                fail(f"{name} was changed by the sampler; a record is the learner's, and others read it: copy it first")
        for _, value, _ in world.given:  # after all comparisons: two names may be one array
            value[...] = -1 if value.dtype.kind in "iu" else 1e6
        world.given.clear()
        if drawn != kit.world.step(two, 10 * k):
            fail("later draws changed when the arrays of a record were overwritten after it was told; keep copies")
    same(law_of(one), law_of(two), "overwriting the arrays of a record after it was told changed the law; keep copies")
    same(one.estimates(), two.estimates(), "overwriting credited errors after observe() changed estimates; keep copies")
