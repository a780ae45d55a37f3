"""Names of curricula: ours, registered ones, those of installed packages; settings and their errors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.spaces import finite_space
from waker.curriculum import (
    CurriculumConfig,
    Needs,
    curriculum_names,
    curriculum_settings,
    make_curriculum,
    register_curriculum,
    registry,
)
from waker.curriculum.api import Curriculum, Floats, Score
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.evidence import check_given
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.rules import TopK
from waker.curriculum.scores.error_estimate import Magnitude
from waker.errors import UserError
from waker_envs.api import FiniteThetaSpace, ThetaSpace

OURS = [
    "accel",
    "alp-gmm",
    "bidirectional-lp",
    "cenie",
    "diplr",
    "dr",
    "error-oracle",
    "excess-loss",
    "gradual-expansion",
    "hardest-oracle",
    "heldout-loss",
    "learning-progress",
    "model-loss",
    "ncc",
    "pace",
    "plr",
    "prowl",
    "regret-oracle",
    "reweighting-oracle",
    "robust-plr",
    "sfl",
    "sfl-int",
    "task-plr",
    "traced",
    "waker-m",
    "waker-r",
]


@pytest.fixture(autouse=True)
def _restore_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    curriculum_names()  # ours are registered on the first look-up
    monkeypatch.setattr(registry.CURRICULA, "registered", dict(registry.CURRICULA.registered))


def make(name: str) -> Curriculum:
    return make_curriculum(name, finite_space(), CurriculumConfig(), np.random.default_rng(0))


def test_ours_are_found() -> None:
    assert [name for name in curriculum_names() if name in OURS] == OURS


@pytest.mark.parametrize(
    ("written", "nearest"), [("waker", "waker-m"), ("waker_r", "waker-r"), ("hardest", "hardest-oracle")]
)
def test_an_unknown_name_offers_the_nearest(written: str, nearest: str) -> None:
    with pytest.raises(UserError, match=f"unknown sampler '{written}'; did you mean '{nearest}'"):
        make(written)


class Returns(Score):
    """A score of one's own: the last episode's return, lowest first."""

    def __init__(self, n_theta: int) -> None:
        self.last = np.full(n_theta, np.nan)

    def values(self) -> Floats:
        return -self.last

    def episode(self, theta_id: int, stats: dict[str, float]) -> None:  # type: ignore[override]
        self.last[theta_id] = stats["return"]


def test_a_baseline_is_one_class_and_one_function() -> None:
    @register_curriculum("lowest-return")
    def build(
        space: ThetaSpace, config: CurriculumConfig, rng: np.random.Generator, samples_per_update: int
    ) -> Curriculum:
        assert isinstance(space, FiniteThetaSpace)
        return ComposedCurriculum(
            "lowest-return",
            space,
            tracker=Magnitude(space.size),
            score=Returns(space.size),
            priority=TopK(1),
            mixture=Mixture(0.0),
            rng=rng,
        )

    assert "lowest-return" in curriculum_names()
    curriculum = make("lowest-return")
    for theta_id, value in [(0, 3.0), (2, 1.0), (4, 2.0)]:
        curriculum.episode_done(finite_space().points[theta_id], theta_id, {"return": value})
    np.testing.assert_array_equal(curriculum.probabilities(), [0, 0, 1, 0, 0, 0])


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="'dr' is already registered"):
        register_curriculum("dr")(registry.CURRICULA.registered["dr"])


def install(folder: Path, entry: str) -> None:
    """A package's metadata as an installer leaves it."""
    info = folder / "other_curricula-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-curricula\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[waker.curricula]\n{entry}\n")


def test_an_installed_package_brings_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "always-first = other_curricula_module:build")
    (tmp_path / "other_curricula_module.py").write_text(
        "import numpy as np\n"
        "from waker.curriculum import ComposedCurriculum, Fixed, Magnitude, Mixture\n"
        "def build(space, config, rng, samples_per_update):\n"
        "    tracker = Magnitude(space.size)\n"
        "    return ComposedCurriculum('always-first', space, tracker=tracker, score=tracker,\n"
        "                              priority=Fixed(np.eye(space.size)[0]), mixture=Mixture(0.0), rng=rng)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "always-first" in curriculum_names()
    assert make("always-first").sample(3).points.tolist() == [[3.0, 0.0]] * 3
    with pytest.raises(UserError, match="did you mean 'always-first'"):
        make("alwaysfirst")


def test_a_broken_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "broken = not_there_at_all:build")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="'broken' of not_there_at_all:build cannot be loaded"):
        make("broken")


@pytest.mark.parametrize(
    ("key", "value", "valid"),
    [
        ("dr_share", 1.5, "at least 0 and at most 1"),
        ("staleness", -0.1, "at least 0 and at most 1"),
        ("priority", "boltzman", "'boltzmann' or 'rank' or 'top-k'"),
        ("temperature", 0.0, "above 0"),
        ("rank_temperature", 0.0, "above 0"),
        ("top_k", 0, "at least 1"),
        ("error_decay", 1.0, "below 1"),
        ("memory_updates", 0.0, "above 0"),
        ("reduction_interval", 0, "at least 1"),
        ("reduction_start", -1, "at least 0"),
        ("reduction_rate", 0.0, "above 0"),
    ],
)
def test_settings_are_checked(key: str, value: object, valid: str) -> None:
    with pytest.raises(UserError, match=rf"^curriculum\.{key} = .*{valid}"):
        CurriculumConfig(**{key: value})  # type: ignore[arg-type]


def test_defaults_are_the_paper_s() -> None:
    config = CurriculumConfig()
    assert (config.dr_share, config.error_decay, config.reduction_rate) == (0.2, 1 - 1 / 10_000, 0.05)
    assert (config.reduction_interval, config.reduction_start, config.temperature) == (10_000, 50_000, None)


def test_memory_reaches_the_tracker() -> None:
    config = CurriculumConfig(memory_updates=1)
    curriculum = make_curriculum("waker-m", finite_space(), config, np.random.default_rng(0), samples_per_update=6)
    curriculum.observe(np.array([0, 0]), np.array([1.0, 0.0]), 0)
    estimates = curriculum.estimates()
    assert estimates is not None
    assert estimates[0] == pytest.approx(np.exp(-1))  # M = N: one sample a θ an update


@dataclass(frozen=True)
class TopSettings:
    """A sampler's own number."""

    k: int = 1


def test_a_sampler_has_settings_of_its_own() -> None:
    @register_curriculum("highest", TopSettings)
    def build(
        space: ThetaSpace,
        config: CurriculumConfig,
        rng: np.random.Generator,
        samples_per_update: int,
        settings: TopSettings,
    ) -> Curriculum:
        assert isinstance(space, FiniteThetaSpace)
        tracker = Magnitude(space.size)
        priority, mixture = TopK(settings.k), Mixture(0.0)
        return ComposedCurriculum(
            "highest", space, tracker=tracker, score=tracker, priority=priority, mixture=mixture, rng=rng
        )

    assert curriculum_settings("highest") is TopSettings
    assert curriculum_settings("dr") is None
    for settings, chosen in ((None, 1), (TopSettings(k=2), 2)):
        made = make_curriculum(
            "highest", finite_space(), CurriculumConfig(), np.random.default_rng(0), settings=settings
        )
        made.observe(np.arange(6), np.arange(6.0), 0)
        assert np.count_nonzero(made.probabilities()) == chosen


def test_settings_of_another_sampler_are_refused() -> None:
    for name, wanted in (("dr", "has no settings of its own, and was given"), ("plr", "it takes LevelReplaySettings")):
        with pytest.raises(UserError, match=f"'{name}' .*{wanted}"):
            make_curriculum(name, finite_space(), CurriculumConfig(), np.random.default_rng(0), settings=TopSettings())


def test_settings_must_all_have_defaults() -> None:
    @dataclass
    class Bare:
        k: int

    with pytest.raises(ValueError, match="setting 'k' of sampler 'bare' has no default"):
        register_curriculum("bare", Bare)
    with pytest.raises(ValueError, match="must be a dataclass"):
        register_curriculum("bare", int)


def test_a_sampler_that_reads_what_no_learner_measures_is_refused() -> None:
    wanted = make("plr").needs  # type: ignore[attr-defined]
    check_given("plr", wanted, (), ("rewards", "values"))
    with pytest.raises(UserError, match="'plr' reads rewards, values, which this learner does not measure"):
        check_given("plr", wanted, ("rewards", "values"), ())
    with pytest.raises(ValueError, match="Evidence has no field 'los'"):
        Needs(frozenset({"los"}))
