"""``check_curriculum``: does a sampler keep the promises of :class:`waker.curriculum.Curriculum`, and what is wrong.

For authors of samplers, in their tests. Every check drives the sampler through a small made-up run with fixed seeds, so
the verdict is the same every time. Each finds a fault that a published implementation had; those of a part (ranks,
buffers, crediting) that no outside look can see are tests of that part here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from waker.curriculum.api import Curriculum, Evident, State
from waker.curriculum.checker_world import World, small_box, small_space
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.registry import make_curriculum
from waker.errors import UserError
from waker_envs.api import FiniteThetaSpace, ThetaSpace

__all__ = ["CurriculumCheckError", "check_curriculum"]

Factory = Callable[[ThetaSpace, np.random.Generator], Curriculum]
DRAWS = 1_000
"""Draws whose frequencies are held against the probabilities."""


class CurriculumCheckError(AssertionError):
    """A promise is broken; the message says which, what was seen, and what to do."""


def check_curriculum(factory: str | Factory, *, continuous: bool = False) -> None:
    """Check a sampler against the interface.

    Args:
        factory: a registered name, or a function ``(space, rng) -> Curriculum``.
        continuous: check it on a box of θ, in place of a finite space.

    Raises:
        CurriculumCheckError: the first broken promise.
    """
    kit = _Kit(_named(factory) if isinstance(factory, str) else factory, continuous)
    kit.check_samples(kit.made(), "before any evidence")
    kit.check_fields()
    kit.check_samples(kit.driven(), "after some updates")
    kit.check_staged()
    kit.check_state()
    kit.check_copies()
    for sign, what in ((1.0, "positive"), (-1.0, "negative"), (0.0, "all zero")):
        kit.check_distribution(World(kit.space, sign), what)
    if not continuous:
        kit.check_frequencies()
        kit.check_draws_in_a_row()
        kit.check_reading()
        kit.check_order()
        kit.check_outside()
        kit.check_bad_numbers()
        kit.check_unseen()


def _named(name: str) -> Factory:
    return lambda space, rng: make_curriculum(name, space, CurriculumConfig(), rng)


class _Kit:
    """The checks of one sampler."""

    def __init__(self, factory: Factory, continuous: bool) -> None:
        self.factory = factory
        self.space: ThetaSpace = small_box() if continuous else small_space()
        self.world = World(self.space)

    def made(self, seed: int = 0, space: ThetaSpace | None = None) -> Any:
        return self.factory(self.space if space is None else space, np.random.default_rng(seed))

    def driven(self, steps: int = 9, seed: int = 0, world: World | None = None) -> Any:
        """One after some of a run."""
        curriculum, world = self.made(seed), world or self.world
        for step in range(steps):
            world.step(curriculum, 10 * step)
        return curriculum

    def check_samples(self, curriculum: Any, when: str) -> None:
        """Of a fresh one, too: Syllabus ignores k in ``sample(k)`` during its warm-up."""
        for n in (0, 1, 7):
            given = self.world.drawn(curriculum, n).points
            if given.shape != (n, self.space.dim):
                _fail(f"sample({n}) gave shape {given.shape} {when}; it must give ({n}, {self.space.dim})")
            for theta in given:
                if not self.space.contains(theta):
                    _fail(f"sample({n}) gave θ ({self.space.format(theta)}) {when}, which is outside the space")

    def check_fields(self) -> None:
        """That it reads no field of a record that it has not named: the learner would not have measured it."""
        curriculum = self.made()
        try:
            for step in range(9):
                self.world.step(curriculum, 10 * step)
        except (AttributeError, TypeError, ValueError) as error:
            needs = curriculum.needs if isinstance(curriculum, Evident) else None
            _fail(
                f"a run of nine updates failed with {type(error).__name__}: {error}. Its needs are {needs}; "
                "a field that they do not name is None in the records"
            )

    def check_staged(self) -> None:
        """One flag an episode, or the collector would train on what must only be scored."""
        curriculum = self.driven()
        if not hasattr(curriculum, "staged"):
            return
        for n in (1, 5):
            curriculum.sample(n)
            staged = np.asarray(curriculum.staged)
            if staged.shape != (n,) or staged.dtype != np.bool_:
                _fail(f"staged is {staged.dtype} of shape {staged.shape} after sample({n}); it must be ({n},) booleans")

    def check_state(self) -> None:
        """In the middle of whatever it counts: a restored run must go on with the identical draws."""
        whole, other = self.driven(13), self.driven(4, seed=99)
        state = whole.state_dict()
        before = {key: np.copy(value) for key, value in state.items()}
        other.load_state_dict(_through_a_file(state))
        for step in range(130, 330, 10):
            one, two = self.world.step(whole, step), self.world.step(other, step)
            if one != two:
                _fail(
                    f"a curriculum restored from state_dict() draws {two} where the original draws {one}, "
                    f"{(step - 130) // 10} updates later: something that draws depend on is not in the state"
                )
        for key, value in before.items():
            if not np.array_equal(value, state[key], equal_nan=np.asarray(value).dtype.kind == "f"):
                _fail(f"state_dict()[{key!r}] changed while the curriculum went on; give a copy")

    def check_distribution(self, world: World, what: str) -> None:
        """Also with negative and with equal numbers, of which fractional powers and ranks have made NaN."""
        with np.errstate(invalid="raise", divide="ignore"):
            try:
                curriculum = self.driven(12, world=world)
                p = curriculum.probabilities()
            except FloatingPointError as error:
                _fail(f"{error} while it was given {what} numbers")
        if not isinstance(self.space, FiniteThetaSpace):
            if p is not None:
                _fail("probabilities() of a continuous space must be None")
            return
        p = np.asarray(p)
        if p.shape != (self.space.size,):
            _fail(f"probabilities() has shape {p.shape}; it must be one number for each of {self.space.size} θ")
        if not np.isfinite(p).all() or (p < 0).any() or abs(p.sum() - 1) > 1e-9:
            _fail(f"probabilities() are {p} after {what} numbers; they must be ≥ 0 and sum to 1, not to {p.sum()}")

    def check_frequencies(self) -> None:
        """Each draw's θ against that draw's probabilities: the difference is a martingale for any sampler."""
        curriculum = self.driven(12)
        counts, expected, variance = np.zeros((3, self.space.size or 0))
        for _ in range(DRAWS):
            p = np.asarray(curriculum.probabilities())
            counts[self.world.drawn(curriculum, 1).ids[0]] += 1
            expected, variance = expected + p, variance + p * (1 - p)
        far = abs(counts - expected) - 4 * np.sqrt(variance) - 16 / 3  # the last for rare θ (Freedman's inequality)
        if (far > 0).any():
            i = int(np.argmax(far))
            _fail(
                f"θ {i} was drawn {counts[i]:.0f} times in {DRAWS} draws, where probabilities() add up to "
                f"{expected[i]:.1f} ± {np.sqrt(variance[i]):.1f}: they must be the exact law of the next draw"
            )

    def check_draws_in_a_row(self) -> None:
        """Where a draw changes the law (staleness), the draws of one call must see each other."""
        curriculum = self.driven(12)
        before = np.asarray(curriculum.probabilities())
        state = curriculum.state_dict()
        singles = [self.world.drawn(curriculum, 1).points[0].tolist() for _ in range(8)]
        if np.allclose(before, curriculum.probabilities(), rtol=0, atol=1e-12):
            return
        curriculum.load_state_dict(state)
        together = self.world.drawn(curriculum, 8).points.tolist()
        if together != singles:
            _fail(
                f"sample(8) gave {together}, eight times sample(1) gives {singles}: a draw changes the probabilities, "
                "so the next one in the same call must already see it"
            )

    def check_reading(self) -> None:
        """Reading changes nothing (a rank transform that masks in place writes −∞ into stored scores)."""
        one, two = self.driven(12), self.driven(12)
        for _ in range(3):
            p, table = np.asarray(one.probabilities()), one.table()
            if "probability" in table and not np.allclose(table["probability"], p, rtol=0, atol=1e-12):
                _fail("the table's column 'probability' differs from probabilities()")
            one.estimates()
        same(
            one.probabilities(), two.probabilities(), "calling probabilities(), estimates() and table() changed the law"
        )

    def check_copies(self) -> None:
        """What is handed out may be written to."""
        one, two = self.driven(12), self.driven(12)
        for array in (self.world.drawn(one, 4).points, one.probabilities(), one.estimates(), *one.table().values()):
            if array is not None and np.asarray(array).flags.writeable:
                np.asarray(array)[...] = 0
        two.sample(4)
        what = "writing into what sample(), probabilities(), estimates() or table() returned changed"
        for name in ("estimates", "probabilities"):
            same(getattr(one, name)(), getattr(two, name)(), f"{what} {name}()")
        if self.world.step(one, 500) != self.world.step(two, 500):
            _fail(f"{what} later draws")

    def check_order(self) -> None:
        """The order of a batch matters among the steps of one θ, never among different θ."""
        one, two = self.driven(12), self.driven(12)
        ids = np.array([3, 0, 3, 1, 0, 3, 5, 1])
        record = self.world.evidence(self.world.needs(one), ids, 200)
        order = np.argsort(ids, kind="stable")
        arrays = {k: v for k, v in vars(record).items() if isinstance(v, np.ndarray) and len(v) == len(ids)}
        sorted_ = type(record)(**{**vars(record), **{k: v[order] for k, v in arrays.items()}})
        errors = np.arange(1.0, 9.0)
        for curriculum, batch, k in ((one, record, np.arange(8)), (two, sorted_, order)):
            if self.world.needs(curriculum):
                curriculum.learn(batch)
            curriculum.observe(ids[k], errors[k], 200)
        same(one.probabilities(), two.probabilities(), "the order of different θ in a batch changed the law")
        same(one.estimates(), two.estimates(), "the order of different θ in a batch changed the estimates")

    def check_outside(self) -> None:
        """θ outside the space (suites, a prefill of others) have ids below 0."""
        one, two = self.driven(12), self.driven(12)
        self.world.update(one, np.full(4, -1), 200)
        self.world.update(two, np.zeros(0, np.int64), 200)
        one.episode_done(np.array([9.0, 9.0]), -1, {})
        same(one.probabilities(), two.probabilities(), "θ with ids below 0, outside the space, changed the law")

    def check_bad_numbers(self) -> None:
        """A level without a finished episode has NaN or −∞ somewhere; argsort puts NaN among the best."""
        for bad in (np.nan, -np.inf):
            one, two = self.driven(12), self.driven(12)
            if not self.world.needs(one):
                return
            try:
                self.world.update(one, np.array([8, 8]), 110, bad)
                self.world.episode(one, self.space.points[8], 8, 110, "staged", bad)  # type: ignore[attr-defined]
            except UserError:
                pass  # refused aloud
            self.world.update(two, np.zeros(0, np.int64), 110, bad)
            same(one.probabilities(), two.probabilities(), f"records full of {bad} changed the law; leave them out")

    def check_unseen(self) -> None:
        """θ that DR never draws and that have no evidence: as if they were not there. Stored as 0 they take ranks."""
        laws = []
        for space in (small_space(), small_space(strangers=5)):
            curriculum, world = self.made(space=space), World(space, -1.0)
            for step in range(12):
                world.step(curriculum, 10 * step, draw=False)
            laws.append(np.asarray(curriculum.probabilities()))
        if laws[1][9:].any():
            _fail(f"θ without DR weight and without evidence have probabilities {laws[1][9:]}")
        same(
            laws[0],
            laws[1][:9],
            "five further θ that DR never draws changed the law of the others",
        )


def same(one: Any, two: Any, message: str) -> None:
    """Fail where two arrays differ by more than rounding."""
    if one is not None and not np.allclose(one, two, rtol=1e-9, atol=1e-12, equal_nan=True):
        _fail(f"{message}: {np.asarray(one)} beside {np.asarray(two)}")


def _fail(message: str) -> None:
    raise CurriculumCheckError(message)


def _through_a_file(state: Mapping[str, Any]) -> State:
    """As a checkpoint would hold it: arrays of numbers, and JSON."""
    restored: State = {}
    for key, value in state.items():
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biuf":
                _fail(f"state_dict()[{key!r}] is an array of {value.dtype}; checkpoints hold numbers and JSON scalars")
            restored[key] = value.copy()
        elif isinstance(value, str | int | float | bool):
            restored[key] = json.loads(json.dumps(value))
        else:
            _fail(f"state_dict()[{key!r}] is a {type(value).__name__}; checkpoints hold arrays and JSON scalars")
    return restored
