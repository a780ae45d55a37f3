"""Faults put into samplers that are right otherwise: the checker finds each, and its message says which it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from waker.curriculum import ComposedCurriculum, Magnitude, Mixture, Priority, Proportional, Rank, Reduction, Score
from waker.curriculum.api import UNCHANGED
from waker.curriculum.checker import CurriculumCheckError, check_curriculum
from waker.curriculum.evidence import needs
from waker.curriculum.state import pack_rng

SHARED = np.random.default_rng(0)


class Sound(ComposedCurriculum):
    """A sampler by rank, without a fault."""

    tracked: type[Magnitude] = Magnitude

    @classmethod
    def made(cls, space: Any, rng: np.random.Generator, **more: Any) -> Any:
        tracker = cls.tracked(space.size, 0.9)
        score = more.pop("score", None)
        return cls(
            "sound", space, tracker=tracker, score=tracker if score is None else score(space.size, tracker),
            priority=more.pop("priority", Rank(1.0)), mixture=more.pop("mixture", Mixture(0.2)), rng=rng,
        )  # fmt: skip


class OfLosses(Score):
    """The newest mean loss of an episode in θ."""

    needs = needs(episode=("loss",))

    def __init__(self, size: int, tracker: Magnitude) -> None:
        self.loss = np.full(size, np.nan)

    def values(self) -> Any:
        return self.loss.copy()

    def learn_episode(self, evidence: Any) -> Any:
        if not np.isfinite(evidence.loss).all():
            return UNCHANGED
        self.loss[evidence.theta_id] = self.of(evidence)
        return None

    def of(self, evidence: Any) -> float:
        return float(evidence.loss.mean())

    def state_dict(self) -> Any:
        return {"loss": self.loss.copy()}

    def load_state_dict(self, state: Any) -> None:
        self.loss = np.array(state["loss"])


# Draws ------------------------------------------------------------------------------------------------------------


class Unnormalised(Sound):
    def probabilities(self) -> Any:
        return super().probabilities() * 0.999


class NormalisedTwice(Sound):
    """The share of DR is counted in the law, and taken again in the draw."""

    def _drawn(self, n: int) -> Any:
        return np.where(
            self._rng.random(n) < 0.05, self._rng.choice(self.space.size, n, p=self.space.weights), super()._drawn(n)
        )


class DrawsDR(Sound):
    """The law is stated and not drawn from."""

    def _drawn(self, n: int) -> Any:
        return self._rng.choice(self.space.size, n, p=self.space.weights)


class OffByAFewPercent(Sound):
    """Draws with another temperature than the law's: a thousand draws would not show it."""

    def _drawn(self, n: int) -> Any:
        target = Rank(1.06).distribution(self.score.values())
        return self._rng.choice(self.space.size, n, p=self.mixture.mix(target, self.space.weights, self._last))


class Best(Priority):
    """Uniform over the best."""

    def distribution(self, scores: Any) -> Any:
        if np.isnan(scores).all():
            return None
        best = scores == np.nanmax(scores)
        return best / best.sum()


class TiesByIndex(Sound):
    """Of equal scores the first id is taken, though the law shares between them."""

    def _drawn(self, n: int) -> Any:
        scores = self.score.values()
        if np.isnan(scores).all():
            return super()._drawn(n)
        dr = self._rng.choice(self.space.size, n, p=self.space.weights)
        return np.where(self._rng.random(n) < 0.2, dr, np.nanargmax(scores))


class OneDrawForAll(Sound):
    def sample(self, n: int) -> Any:
        thetas = super().sample(n)
        return type(thetas)(np.repeat(thetas.ids[:1], n), np.repeat(thetas.points[:1], n, 0))


class GlobalChance(Sound):
    def _drawn(self, n: int) -> Any:
        return np.random.choice(self.space.size, n, p=self.probabilities())  # noqa: NPY002


class SharedChance(Sound):
    def _drawn(self, n: int) -> Any:
        return SHARED.choice(self.space.size, n, p=self.probabilities())


class OwnChance(Sound):
    """A generator of its own, always of the same seed."""

    @classmethod
    def made(cls, space: Any, rng: np.random.Generator, **more: Any) -> Any:
        return super().made(space, np.random.default_rng(5), **more)


# Memory -----------------------------------------------------------------------------------------------------------


class ForgetsItsMark(Reduction):
    """The next mark is in no state: a run restored in the middle of an interval measures too early."""

    def __init__(self, size: int, tracker: Magnitude) -> None:
        super().__init__(tracker, 10_000, 0, 0.5)

    def state_dict(self) -> Any:
        return {key: value for key, value in super().state_dict().items() if key != "next_mark"}

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict({**state, "next_mark": self.next_mark})


class CountsUpdates(OfLosses):
    """Takes what it gathered at every seventh episode, and the count is in no state."""

    def __init__(self, size: int, tracker: Magnitude) -> None:
        super().__init__(size, tracker)
        self.count = 0

    def learn_episode(self, evidence: Any) -> Any:
        self.count += 1
        return UNCHANGED if self.count % 7 else super().learn_episode(evidence)


class StaleAfterLoad(Sound):
    """Estimates are kept from the last update, and those of before a load stay."""

    newest: Any = None

    def observe(self, theta_id: Any, error: Any, step: int) -> None:
        super().observe(theta_id, error, step)
        self.newest = self.tracker.values()

    def estimates(self) -> Any:
        return super().estimates() if self.newest is None else self.newest.copy()


class KeepsTheState(Sound):
    """Loads arrays and goes on in them."""

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        self._episodes = state["episodes"]


class AnotherStream(Sound):
    """Its generator is saved as it was when it was made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._begin = pack_rng(self._rng)

    def state_dict(self) -> Any:
        return super().state_dict() | {"rng": self._begin}


class ReadsEarly(Reduction):
    """Who reads its values ends the interval: the reduction so far is taken for the whole."""

    def __init__(self, size: int, tracker: Magnitude) -> None:
        super().__init__(tracker, 10_000, 0, 0.5)

    def values(self) -> Any:
        if self.next_mark and np.isfinite(self.previous).any():
            delta = self.previous - self.magnitude.estimate
            self.reduction = np.where(np.isnan(delta), self.reduction, delta)
            self.previous = self.magnitude.estimate.copy()
        return super().values()


class SortsTheRecord(OfLosses):
    def of(self, evidence: Any) -> float:
        evidence.loss.sort()
        return float(np.median(evidence.loss))


class ScalesTheCredits(Sound):
    def observe(self, theta_id: Any, error: Any, step: int) -> None:
        error *= 0.5
        super().observe(theta_id, error, step)


class KeepsTheRecord(OfLosses):
    """Looks at the arrays of a record when it is asked for scores."""

    def __init__(self, size: int, tracker: Magnitude) -> None:
        super().__init__(size, tracker)
        self.arrays: dict[int, Any] = {}

    def learn_episode(self, evidence: Any) -> Any:
        if np.isfinite(evidence.loss).all():
            self.arrays[evidence.theta_id] = evidence.loss
        return None

    def values(self) -> Any:
        for theta_id, loss in self.arrays.items():
            self.loss[theta_id] = loss.mean()
        return super().values()

    def state_dict(self) -> Any:
        self.values()
        return super().state_dict()

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        self.arrays = {}


# Evidence ---------------------------------------------------------------------------------------------------------


class LastOfEach(Magnitude):
    """``estimate[ids] += …`` takes one of several equal ids."""

    def observe(self, theta_id: Any, error: Any, step: int) -> Any:
        self.estimate = np.where(np.isnan(self.estimate), 0.0, self.estimate)
        self.estimate[theta_id] += 0.1 * (error - self.estimate[theta_id])
        return None


class LosesCredits(Sound):
    tracked = LastOfEach


class TakesPartsOfARound(OfLosses):
    """Scores θ by the first of its held-out episodes, and again by the next: of a round of another model."""

    needs = needs(episode=("loss",), heldout=0.1)


class Powers(Priority):
    """Fractional powers of what may be below 0."""

    def distribution(self, scores: Any) -> Any:
        if np.isnan(scores).all():
            return None
        law = np.where(np.isnan(scores), 0.0, np.power(np.where(np.isnan(scores), 0.0, scores), 1 / 0.7))
        return law / law.sum()


class Shares(Priority):
    """Divides by a sum that may be 0."""

    def distribution(self, scores: Any) -> Any:
        if np.isnan(scores).all():
            return None
        law = np.where(np.isnan(scores), 0.0, abs(scores))
        return law / law.sum()


class Mean(OfLosses):
    """A θ without an episode takes the mean of all, so that θ which DR never draws are drawn."""

    def values(self) -> Any:
        scores = super().values()
        return scores if np.isnan(scores).all() else np.where(np.isnan(scores), np.nanmean(scores), scores)


class LosesStarts(Score):
    """The mean loss of start states by ``x[ids] += …``, which takes one of several of a θ."""

    needs = needs(update=("loss",))

    def __init__(self, size: int, tracker: Magnitude) -> None:
        self.total, self.count = np.zeros(size), np.zeros(size)

    def values(self) -> Any:
        return np.where(self.count > 0, self.total / np.maximum(self.count, 1), np.nan)

    def learn(self, evidence: Any) -> Any:
        keep = (evidence.theta_id >= 0) & np.isfinite(evidence.loss)
        self.total[evidence.theta_id[keep]] += evidence.loss[keep]
        self.count[evidence.theta_id[keep]] += 1
        return None

    def state_dict(self) -> Any:
        return {"total": self.total.copy(), "count": self.count.copy()}

    def load_state_dict(self, state: Any) -> None:
        self.total, self.count = np.array(state["total"]), np.array(state["count"])


class ScoresTheLast(Sound):
    """An episode of a θ outside the space is scored as the last θ's."""

    def learn_episode(self, evidence: Any) -> None:
        self._changed(self.score.learn_episode(evidence))


class CreditsTheLast(Sound):
    """Ids below 0 are numpy's last one."""

    def observe(self, theta_id: Any, error: Any, step: int) -> None:
        super().observe(theta_id % self.space.size, error, step)


def with_(score: Any = None, kind: Any = Sound, **more: Any) -> Any:
    given = {**more, **({} if score is None else {"score": score})}
    return lambda space, rng: kind.made(space, rng, **given)


FAULTS: list[tuple[str, Any, str]] = [
    ("wrong normalisation", Unnormalised.made, r"must be ≥ 0 and sum to 1, not to 0\.99"),
    ("DR twice", NormalisedTwice.made, "must be the exact law of the next draw"),
    ("draws that ignore probabilities", DrawsDR.made, "must be the exact law of the next draw"),
    ("a few percent off", OffByAFewPercent.made, "must be the exact law of the next draw"),
    ("ties by index", with_(OfLosses, TiesByIndex, priority=Best()), "after all zero numbers, where"),
    ("one draw for all", OneDrawForAll.made, "must be the exact law|eight times sample"),
    ("global generator", GlobalChance.made, "drew from a global generator"),
    ("shared generator", SharedChance.made, "made with generators of the same seed draw"),
    ("generator not used", OwnChance.made, "the rng that the factory is given is not used"),
    ("mark not saved", with_(ForgetsItsMark), r"updates of 1700 agent steps into a run.*not in the state"),
    ("count not saved", with_(CountsUpdates), "something that draws depend on is not in the state"),
    ("stale estimate after load", StaleAfterLoad.made, r"after load_state_dict\(\) estimates\(\) is"),
    ("keeps the loaded arrays", KeepsTheState.made, r"what load_state_dict\(\) was given as 'episodes' changed"),
    ("generator saved too early", AnotherStream.made, "something that draws depend on is not in the state"),
    ("interval ended by a reader", with_(ReadsEarly), "in the middle of a run changed|after load_state_dict"),
    ("record sorted in place", with_(SortsTheRecord), r"EpisodeEvidence\.loss was changed by the sampler"),
    ("credits scaled in place", ScalesTheCredits.made, r"observe\(…\)'s error was changed by the sampler"),
    ("record kept", with_(KeepsTheRecord), "arrays of a record"),
    ("credits lost", LosesCredits.made, "of three credits of θ 3 in one batch, number 1 changes no estimate"),
    ("part of a round", with_(TakesPartsOfARound), "left = [12] changed the law before its round was over"),
    ("negative powers", with_(OfLosses, priority=Powers()), "negative numbers"),
    ("division by zero", with_(OfLosses, priority=Shares()), "all zero numbers"),
    ("unseen θ take the mean", with_(Mean, priority=Proportional(1.0)), "θ without DR weight and without evidence"),
    ("start states lost", with_(LosesStarts), "of three start states of θ . in one record, number 1 changes no prob"),
    ("episodes outside", with_(OfLosses, ScoresTheLast), "an episode of a θ with an id below 0 changed the score"),
    ("ids below 0", CreditsTheLast.made, "θ with ids below 0, outside the space, changed the law"),
]  # fmt: skip


@pytest.mark.parametrize(("factory", "message"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_fault_is_found_and_named(factory: Any, message: str) -> None:
    with pytest.raises(CurriculumCheckError, match=message):
        check_curriculum(factory)


@pytest.mark.parametrize(
    "factory", [Sound.made, with_(OfLosses), with_(lambda size, tracker: Reduction(tracker, 10_000, 0, 0.5))]
)
def test_without_a_fault_nothing_is_found(factory: Any) -> None:
    check_curriculum(factory)
