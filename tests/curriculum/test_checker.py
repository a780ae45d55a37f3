"""Every sampler of the package keeps the interface's promises; broken ones are told what is wrong."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from waker.curriculum import (
    ComposedCurriculum,
    Magnitude,
    Mixture,
    Priority,
    Rank,
    Score,
    curriculum_names,
    curriculum_settings,
    registry,
)
from waker.curriculum.checker import CurriculumCheckError, check_curriculum
from waker.curriculum.evidence import needs
from waker.curriculum.kit import draws
from waker.errors import UserError
from waker.plug_ins import is_ours

EXPERTS = {"hardest-oracle", "reweighting-oracle"}
BOX = ("dr", "waker-m", "waker-r", "plr", "robust-plr", "accel", "alp-gmm")


OURS = sorted(set(curriculum_names()) - EXPERTS - {"alp-gmm"})


@pytest.mark.parametrize("name", OURS)
def test_ours_on_a_finite_space(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tenth of the draws; the long test has all."""
    monkeypatch.setattr(draws, "DRAWS", draws.DRAWS // 10)
    monkeypatch.setattr(draws, "IN_A_ROW", draws.IN_A_ROW // 10)
    check_curriculum(name)


@pytest.mark.long("tests/curriculum/test_checker.py::test_ours_on_a_finite_space")
@pytest.mark.parametrize("name", OURS)
def test_ours_with_all_draws(name: str) -> None:
    check_curriculum(name)


@pytest.mark.parametrize("name", BOX)
def test_ours_on_a_box(name: str) -> None:
    check_curriculum(name, continuous=True)


class Plain(ComposedCurriculum):
    """waker-m, to be broken in one place."""

    @classmethod
    def made(cls, space: Any, rng: np.random.Generator, mixture: Mixture | None = None, **more: Any) -> Any:
        tracker = Magnitude(space.size)
        return cls(
            "plain", space, tracker=tracker, score=more.pop("score", tracker), priority=more.pop("priority", Rank(1.0)),
            mixture=mixture or Mixture(0.2), rng=rng,
        )  # fmt: skip


class IgnoresN(Plain):
    def sample(self, n: int) -> Any:
        return super().sample(n if self.tracker.credits.any() else 1)


class LeavesTheSpace(Plain):
    def sample(self, n: int) -> Any:
        return super().sample(n).points + 0.01


class HidesDraws(Plain):
    """Its probabilities are of the priority alone."""

    def probabilities(self) -> Any:
        law = self.priority.distribution(self.score.values())
        return self.space.weights if law is None else law


class ForgetsItsGenerator(Plain):
    def load_state_dict(self, state: Any) -> None:
        kept = self._rng.bit_generator.state
        super().load_state_dict(state)
        self._rng.bit_generator.state = kept


class SharesItsState(Plain):
    def state_dict(self) -> Any:
        return super().state_dict() | {"tracker.estimate": self.tracker.estimate}


class SavesObjects(Plain):
    def state_dict(self) -> Any:
        return super().state_dict() | {"extra": {1, 2}}


class StagesOne(Plain):
    staged = np.zeros(1, bool)


class HandsOutItsOwn(Plain):
    def estimates(self) -> Any:
        return self.tracker.estimate


class MarksInPlace(Plain):
    """A rank transform that masks what it was given."""

    def probabilities(self) -> Any:
        self.tracker.estimate[np.isnan(self.tracker.estimate)] = -1.0
        self._changed(None)
        return super().probabilities()


class ZeroForUnseen(Priority):
    """Unseen θ stored as 0, ranked, then masked."""

    def distribution(self, scores: Any) -> Any:
        known = ~np.isnan(scores)
        if not known.any():
            return None
        law = np.where(known, Rank(1.0).distribution(np.where(known, scores, 0.0)), 0.0)
        return law / law.sum()


class TakesAnything(Score):
    """The mean loss of an episode, whatever it is."""

    needs = needs(episode=("loss",))

    def __init__(self) -> None:
        self.mean = np.full(9, np.nan)

    def values(self) -> Any:
        return self.mean.copy()

    def learn_episode(self, evidence: Any) -> None:
        loss = float(evidence.loss.mean())
        self.mean[evidence.theta_id] = loss if np.isfinite(loss) else 1e9

    def state_dict(self) -> Any:
        return {"mean": self.mean.copy()}

    def load_state_dict(self, state: Any) -> None:
        self.mean = np.array(state["mean"])


class ReadsWhatItHasNotNamed(TakesAnything):
    def learn_episode(self, evidence: Any) -> None:
        self.mean[evidence.theta_id] = evidence.disagreement.mean()


class NegativeLosses(TakesAnything):
    """Stores 0 for unseen θ."""

    def __init__(self, size: int) -> None:
        self.mean = np.full(size, np.nan)

    def learn_episode(self, evidence: Any) -> None:
        if np.isfinite(evidence.loss).all():
            super().learn_episode(evidence)


class TakesTheFirst(Plain):
    """Credits the first θ of a batch alone."""

    def observe(self, theta_id: Any, error: Any, step: int) -> None:
        super().observe(theta_id[:1], error[:1], step)


class KeepsStaleness(Plain):
    """All draws of a call from one law, though a draw changes it."""


BROKEN: list[tuple[Any, str]] = [
    (IgnoresN.made, r"sample\(0\) gave shape \(1, 2\) before any evidence"),
    (LeavesTheSpace.made, "outside the space"),
    (HidesDraws.made, "must be the exact law of the next draw"),
    (ForgetsItsGenerator.made, "something that draws depend on is not in the state"),
    (SharesItsState.made, r"state_dict\(\)\['tracker.estimate'\] changed"),
    (SavesObjects.made, r"state_dict\(\)\['extra'\] is a set"),
    (StagesOne.made, r"staged is bool of shape \(1,\) after sample\(5\)"),
    (HandsOutItsOwn.made, "writing into what"),
    (MarksInPlace.made, "probabilities"),
    (lambda s, r: KeepsStaleness.made(s, r, Mixture(0.2, 0.5)), "the next one in the same call must already see it"),
    (TakesTheFirst.made, "the order of different θ in a batch changed"),
    (lambda s, r: Plain.made(s, r, score=TakesAnything()), "records full of nan changed the law"),
    (lambda s, r: Plain.made(s, r, score=ReadsWhatItHasNotNamed()), "a field that they do not name is None"),
    (
        lambda s, r: Plain.made(s, r, score=NegativeLosses(s.size), priority=ZeroForUnseen()),
        "five further θ that DR never draws changed the law",
    ),
]


@pytest.mark.parametrize(("factory", "message"), BROKEN, ids=[str(i) for i in range(len(BROKEN))])
def test_a_broken_promise_is_told(factory: Any, message: str) -> None:
    with pytest.raises(CurriculumCheckError, match=message):
        check_curriculum(factory)


def test_the_unbroken_one_passes() -> None:
    check_curriculum(Plain.made)


def test_the_documented_sampler_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.CURRICULA, "registered", dict(registry.CURRICULA.registered))
    page = (Path(__file__).parents[2] / "docs" / "curricula.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "largest-surprise" in block]
    module = types.ModuleType("surprise_of_the_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "docs/curricula.md", "exec"), module.__dict__)
    check_curriculum("largest-surprise")
    assert curriculum_settings("largest-surprise") is module.SurpriseSettings
    with pytest.raises(UserError, match=r"curriculum\.largest-surprise\.beta = 0 must be above 0"):
        module.SurpriseSettings(beta=0.0)


def test_every_sampler_is_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "curricula.md").read_text(encoding="utf-8")
    ours = [name for name in curriculum_names() if is_ours(registry.CURRICULA.find(name))]
    assert [name for name in ours if f"`{name}`" not in page] == []
