"""What each estimate of a model's error says of dice: of θ whose outcomes are chance, and known to be.

A learner of tables, exact enough to compute with: in θ 0 the next state is one of four, always the same; in θ 1 it is
thrown by a die of four faces. Both begin unknown. Members of an ensemble see the same data, resampled.
"""

from __future__ import annotations

import numpy as np
import pytest

from waker.curriculum import CurriculumConfig, make_curriculum
from waker.curriculum.evidence import EpisodeEvidence, Evidence
from waker.curriculum.named.heldout_loss import HeldoutLossSettings
from waker.curriculum.named.model_loss import ModelLossSettings
from waker.curriculum.named.prowl import ErrorAndChange, ProwlSettings
from waker.curriculum.scores.error_estimate import Magnitude, Reduction
from waker_envs.api import FiniteThetaSpace, Parameter

TRUTH = np.array([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]])
SPACE = FiniteThetaSpace([Parameter("die", "")], [[0.0], [1.0]])


def learned(n: int, members: int = 6, seed: int = 0) -> np.ndarray:
    """Members' predictions (E, θ, 4) after n outcomes of each θ, each from its own resampling of them."""
    rng = np.random.default_rng(seed)
    found = []
    for truth in TRUTH:
        outcomes = rng.choice(4, size=n, p=truth)
        counts = [np.bincount(rng.choice(outcomes, n) if n else [], minlength=4) + 0.25 for _ in range(members)]
        found.append(np.array(counts) / (n + 1.0))
    return np.swapaxes(found, 0, 1)


def entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.maximum(p, 1e-300))).sum(-1)


def estimates(n: int) -> dict[str, np.ndarray]:
    """Means over runs of each estimate, by θ (2,)."""
    runs = [learned(n, seed=seed) for seed in range(200)]
    loss = np.mean([-(TRUTH * np.log(p)).sum(-1).mean(0) for p in runs], 0)
    excess = np.mean([(-(TRUTH * np.log(p)).sum(-1) - entropy(p)).mean(0) for p in runs], 0)
    shannon = np.mean([entropy(p.mean(0)) - entropy(p).mean(0) for p in runs], 0)
    means = np.mean([p.var(0).sum(-1) for p in runs], 0)
    return {"loss": loss, "excess": excess, "disagreement": shannon, "means": means}


def test_the_loss_stays_high_where_dice_are_thrown_and_the_others_fall() -> None:
    early, late = estimates(2), estimates(400)
    assert late["loss"][1] == pytest.approx(np.log(4), rel=0.02)
    assert late["loss"][1] > 50 * late["loss"][0]
    for name in ("excess", "disagreement", "means"):
        assert abs(late[name][1]) < 0.02, name
        assert abs(late[name][1]) < 0.1 * abs(early[name]).max(), name


def test_excess_is_an_error_against_reality_and_dice_add_nothing_to_its_mean() -> None:
    """Where the model is right it is 0 whatever the dice; where it is wrong of itself it is not."""
    right, wrong = TRUTH[1], np.array([0.85, 0.05, 0.05, 0.05])
    excess = [-(TRUTH[1] * np.log(p)).sum() - entropy(p) for p in (right, wrong)]
    assert excess[0] == pytest.approx(0.0, abs=1e-12)
    assert excess[1] > 1.0


def test_a_split_into_two_members_is_their_disagreement() -> None:
    """Error less noise, (x − a)² − (x − a)(x − b), each in turn: the outcome x drops out, ½|a − b|² is left.

    So subtracting noise that is estimated by a second member adds nothing to disagreement of means. In logarithms the
    split is ½(CE_a + CE_b) − ½(H_a + H_b), the mean of two excesses.
    """
    rng = np.random.default_rng(0)
    a, b = rng.dirichlet(np.ones(4), size=(2, 50))
    x = np.eye(4)[rng.integers(4, size=50)]
    split = 0.5 * (((x - a) ** 2 - (x - a) * (x - b)).sum(1) + ((x - b) ** 2 - (x - b) * (x - a)).sum(1))
    np.testing.assert_allclose(split, 2 * np.array([a, b]).var(0).sum(1), rtol=1e-12)
    cross = [-(x * np.log(p)).sum(1) for p in (a, b)]
    swapped = 0.5 * (cross[0] - entropy(b) + cross[1] - entropy(a))
    np.testing.assert_allclose(swapped, 0.5 * (cross[0] - entropy(a) + cross[1] - entropy(b)), rtol=1e-12)


def test_members_that_mean_the_same_do_not_disagree_whatever_the_dice() -> None:
    members = np.repeat(TRUTH[None], 5, 0)
    assert members.var(0).sum(-1).tolist() == [0, 0]
    np.testing.assert_allclose(entropy(members.mean(0)) - entropy(members).mean(0), 0, atol=1e-12)


def test_reduction_forgets_dice_and_magnitude_does_not() -> None:
    """An error that stays, as dice leave one in an estimate that knows them not, has no reduction."""
    magnitude = Magnitude(2, 0.5)
    reduction = Reduction(magnitude, 10, 0, 0.5)
    for step in range(0, 200, 5):
        error = np.array([np.exp(-step / 80), 1.0])
        for part in (magnitude, reduction):
            part.observe(np.array([0, 1]), error, step)
    assert magnitude.values()[1] > 5 * magnitude.values()[0]
    assert reduction.values()[0] > 100 * abs(reduction.values()[1])


def shares(name: str, of: str) -> np.ndarray:
    """What a sampler makes of 400 outcomes of each θ: its probabilities (2,)."""
    made = {
        "model-loss": lambda: ("model-loss", ModelLossSettings()),
        "excess-loss": lambda: ("excess-loss", ModelLossSettings()),
        "heldout-loss": lambda: ("heldout-loss", HeldoutLossSettings(of=of)),  # type: ignore[arg-type]
    }[name]()
    sampler = make_curriculum(made[0], SPACE, CurriculumConfig(), np.random.default_rng(0), settings=made[1])
    for n in (1, 4, 20, 100, 400):
        found = {key: value.repeat(16) for key, value in estimates(n).items() if key in ("loss", "excess")}
        if name == "heldout-loss":
            for theta_id in (0, 1):
                numbers = {key: value[16 * theta_id :][:16] for key, value in found.items()}
                sampler.learn_episode(  # type: ignore[attr-defined]
                    EpisodeEvidence(
                        step=n, theta=SPACE.points[theta_id], theta_id=theta_id, steps=16, kind="heldout", **numbers
                    )
                )
        else:
            record = Evidence(step=n, theta_id=np.array([0, 1]).repeat(16), **found)
            for _ in range(4000):
                sampler.learn(record)  # type: ignore[attr-defined]
    p = sampler.probabilities()
    assert p is not None
    return p


@pytest.mark.parametrize(("name", "of"), [("model-loss", "loss"), ("heldout-loss", "loss")])
def test_samplers_by_loss_chase_dice(name: str, of: str) -> None:
    assert shares(name, of)[1] > 0.7


def test_held_out_excess_tells_dice_from_ignorance() -> None:
    """A third θ that the model does not know yet comes before the dice, in heldout-loss and in prowl; by loss not."""
    space = FiniteThetaSpace([Parameter("die", "")], [[0.0], [1.0], [2.0]])
    known = estimates(400)
    numbers = {"loss": [known["loss"][0], known["loss"][1], 0.9], "excess": [*known["excess"], 0.4]}
    for of, best in (("loss", 1), ("excess", 2)):
        own = HeldoutLossSettings(of=of)  # type: ignore[arg-type]
        sampler = make_curriculum("heldout-loss", space, CurriculumConfig(), np.random.default_rng(0), settings=own)
        prowl = ErrorAndChange(3, ProwlSettings(of=of))  # type: ignore[arg-type]
        assert prowl.needs.episode == {of}
        for theta_id in range(3):
            fields = {name: np.full(4, values[theta_id]) for name, values in numbers.items()}
            record = EpisodeEvidence(
                step=0, theta=space.points[theta_id], theta_id=theta_id, steps=4, kind="heldout", **fields
            )
            sampler.learn_episode(record)  # type: ignore[attr-defined]
            prowl.learn_episode(record)
        assert int(np.argmax(sampler.probabilities())) == best
        assert int(np.argmax(prowl.values())) == best
