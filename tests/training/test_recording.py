"""Samplers that read records train and resume; staged and held-out episodes stay out of the replay."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tests.helpers import dummies
from tests.helpers.families import family_of
from tests.training.test_resume import assert_same, die, interrupted, outcome
from waker.collection.family import Family
from waker.collection.replay_gate import Finished
from waker.config.presets import preset
from waker.config.schema import Config
from waker.curriculum import CurriculumConfig, Evident, curriculum_names, make_curriculum
from waker.curriculum.evidence import EpisodeEvidence, Evidence
from waker.errors import UserError
from waker.evaluation.records import Measurement
from waker.storage.checkpoint import Checkpoints
from waker.storage.run_folder import canonical
from waker.storage.tables import read_rows
from waker.training.build import check_buildable, parts_of
from waker.training.heldout import Heldout
from waker.training.recording import Recording
from waker.training.work_due import Ratio
from waker_envs.api import BoxThetaSpace, FiniteThetaSpace, Parameter, ParametricEnv, Transition
from waker_envs.testing import HardTheta

HASTE = {"fill": 0.05, "replay": 0.6}
SETTINGS: dict[str, dict[str, Any]] = {
    "plr": HASTE,
    "robust-plr": HASTE,
    "task-plr": HASTE,
    "accel": HASTE,
    "traced": {**HASTE, "cycle": 2},
    "cenie": {**HASTE, "refit": 3, "window": 6, "components": 2, "dimensions": 3},
    "diplr": HASTE,
    "pace": {**HASTE, "every": 2},
    "prowl": {**HASTE, "share": 0.4, "every": 30},
    "model-loss": {},
    "excess-loss": {},
    "heldout-loss": {"share": 0.4, "every": 30, "fill": 0.05},
    "learning-progress": {},
    "ncc": {"every": 2},
    "sfl": {"every": 30},
    "sfl-int": {"every": 30},
    "bidirectional-lp": {"every": 30},
    "alp-gmm": {"window": 4, "components": 2},
}
"""Every sampler that reads records, with numbers that let it act within a run of 130 steps."""
WITH_COMPLETION = ("sfl", "bidirectional-lp")
ON_A_BOX: dict[str, dict[str, Any]] = {
    "waker-m": {"memory": 8, "candidates": 8},
    "waker-r": {"memory": 8, "candidates": 8},
    "plr": {**HASTE, "fill": 0.0, "capacity": 4},
    "robust-plr": {**HASTE, "fill": 0.0, "capacity": 4},
    "accel": {**HASTE, "fill": 0.0, "capacity": 4},
    "alp-gmm": SETTINGS["alp-gmm"],
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Push(ParametricEnv):
    """A point on a line; θ = (gain, drift) of a box. Every observation is met once."""

    tasks: tuple[str, ...] = ("right",)
    action_space: ClassVar[Any] = spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space: ClassVar[Any] = spaces.Box(-2.0, 2.0, (1,), np.float32)
    theta_space: ClassVar[Any] = BoxThetaSpace([Parameter("gain", ""), Parameter("drift", "")], [0.1, -1.0], [2.0, 1.0])

    def begin(self, theta: Any) -> Any:
        self._x, self._t, self._theta = float(self.np_random.uniform(-0.5, 0.5)), 0, np.array(theta)
        return np.array([self._x], np.float32)

    def advance(self, action: Any) -> Transition:
        push = self._theta[0] * float(np.asarray(action).reshape(-1)[0])
        self._x = float(np.clip(0.8 * self._x + 0.1 * (push + self._theta[1]), -1, 1))
        self._t += 1
        return Transition(np.array([self._x], np.float32), [self._x], truncated=self._t >= 9)


def of(sampler: str, env: str = "GridHazards", **changes: Any) -> Config:
    """A run of the real learner at its smallest: an update at step 48 and every 12 steps."""
    small = {"steps": 130, "prefill": 48, "train_every": 12.0, "save_every": 40, "log_every": 2, "replay": 2000}
    policies = "online" if sampler == "task-plr" else "after"
    made = preset("tiny").with_(
        env=env, sampler=sampler, seed=3, **{"train.task_policies": policies, "train.adapt_updates": 0}
    )
    settings = SETTINGS.get(sampler, {})
    made = canonical(made)
    made = replace(made, train=replace(made.train, **small), behaviour=replace(made.behaviour, horizon=2, starts=8))
    curriculum = replace(made.curriculum, settings=settings, reduction_interval=30, reduction_start=60)
    return replace(made, curriculum=curriculum, **changes)


def nothing(agent: Any) -> Measurement:
    return Measurement([], [])


def factories(config: Config, family: Family) -> dict[str, Any]:
    made = parts_of(config, family, nothing)
    return {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}


def run(root: Path, config: Config, family: Family | None = None) -> Path:
    return dummies.run(root, config, **factories(config, family or Family.of(config)))[0]


def told(monkeypatch: pytest.MonkeyPatch) -> list[Finished]:
    """Every finished episode of runs from now on."""
    found: list[Finished] = []
    episode = Recording.episode

    def keep(self: Recording, finished: Finished, step: int) -> None:
        found.append(finished)
        episode(self, finished, step)

    monkeypatch.setattr(Recording, "episode", keep)
    return found


def state_of(path: Path) -> dict[str, Any]:
    checkpoints = Checkpoints(path / "checkpoints")
    return checkpoints.load(checkpoints.paths()[0])


def metrics_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


# Every sampler ----------------------------------------------------------------------------------------------------


def test_every_sampler_that_reads_records_is_tried_here() -> None:
    finite, box = Family.of(of("dr")).space, Push.theta_space
    asking = set()
    for name in curriculum_names():
        for space in (finite, box):
            try:
                made = make_curriculum(name, space, CurriculumConfig(), np.random.default_rng(0))
            except UserError:
                continue
            if isinstance(made, Evident) and made.needs:
                asking.add(name)
    assert asking == set(SETTINGS)


KILLED = {"accel", "cenie", "heldout-loss", "ncc", "pace", "robust-plr", "sfl", "sfl-int", "task-plr"}
"""One of each kind of what a run must keep for a sampler: θ it has edited, features, held-out and staged episodes,
values and gradients of updates, success, sampled returns, and values of tasks. That every sampler's own state goes on
as it was, :func:`waker.curriculum.checker.check_curriculum` tells of each."""
OTHERS = sorted(SETTINGS.keys() - KILLED - {"alp-gmm"})


def trained(sampler: str, place: Path) -> tuple[Path, Config, Family]:
    """The sampler's run of 130 steps, in which it has scores."""
    config = of(sampler)
    if sampler in WITH_COMPLETION:
        config = of(sampler, "GridCleanUpSmall", longest_episode=12)  # of many steps, and reports completion
    family = Family.of(config)
    check_buildable(config, family)
    whole = run(place, config, family)
    table = read_rows(whole / "curriculum.parquet")
    assert table["score"].notna().any(), "the sampler has no score yet"
    assert metrics_of(whole)[-1]["time/evidence_cpu_seconds"] >= 0
    return whole, config, family


def assert_killed_is_whole(sampler: str, place: Path) -> None:
    whole, config, family = trained(sampler, place / "whole")
    killed, lives = interrupted(place / "killed", config, [66], die, **factories(config, family))
    assert lives == 2
    assert_same(whole, killed)


@pytest.mark.filterwarnings("ignore:.*was cut after")
@pytest.mark.parametrize("sampler", OTHERS)
def test_a_sampler_trains(sampler: str, tmp_path: Path) -> None:
    trained(sampler, tmp_path)


@pytest.mark.filterwarnings("ignore:.*was cut after")
@pytest.mark.parametrize("sampler", sorted(KILLED))
def test_a_sampler_trains_and_a_killed_run_is_the_whole_one(sampler: str, tmp_path: Path) -> None:
    assert_killed_is_whole(sampler, tmp_path)


@pytest.mark.long(
    "tests/training/test_recording.py::test_a_sampler_trains_and_a_killed_run_is_the_whole_one",
    "tests/training/test_recording.py::test_a_sampler_trains",
    "tests/curriculum/test_checker.py::test_ours_on_a_finite_space",
)
@pytest.mark.filterwarnings("ignore:.*was cut after")
@pytest.mark.parametrize("sampler", OTHERS)
def test_a_killed_run_of_every_other_sampler_is_the_whole_one(sampler: str, tmp_path: Path) -> None:
    assert_killed_is_whole(sampler, tmp_path)


@pytest.mark.parametrize("sampler", sorted(ON_A_BOX))
def test_a_sampler_trains_and_resumes_on_a_box(sampler: str, tmp_path: Path) -> None:
    config = of(sampler)
    config = replace(config, curriculum=replace(config.curriculum, settings=ON_A_BOX[sampler]))
    family = family_of(Push, env_id=config.env)
    check_buildable(config, family)
    whole = run(tmp_path / "whole", config, family)
    killed, lives = interrupted(tmp_path / "killed", config, [66], die, **factories(config, family))
    assert lives == 2
    assert_same(whole, killed)
    state = state_of(whole)["curriculum"]
    numbers = {"plr": "buffer.scores", "robust-plr": "buffer.scores", "accel": "buffer.scores", "alp-gmm": "rows"}
    values = np.asarray(state[numbers.get(sampler, "tracker.estimate")])
    assert np.isfinite(values).any()


# Episodes aside ---------------------------------------------------------------------------------------------------


def seen(path: Path) -> set[tuple[float, ...]]:
    """Every observation in a run's replay."""
    found = set()
    for chunk in sorted((path / "replay").glob("ticks-*.npz")):
        with np.load(chunk) as archive:
            found |= {tuple(one) for one in archive["observation"].reshape(-1, 2).tolist()}
    return found


@pytest.mark.parametrize(("sampler", "kind"), [("robust-plr", "staged"), ("heldout-loss", "heldout")])
def test_no_step_of_an_episode_aside_is_ever_trained_on(
    sampler: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, ended = of(sampler, "waker/test-Hard-v0"), told(monkeypatch)
    config = replace(config, train=replace(config.train, steps=400, envs=3))
    path = run(tmp_path, config, family_of(HardTheta, env_id=config.env))
    rows, replay = read_rows(path / "episodes.parquet"), seen(path)
    assert rows["kind"].tolist() == [one.kind for one in ended]
    assert (rows["kind"] == kind).sum() > 3
    of_kind = {one: {tuple(o) for f in ended if f.kind == one for o in f.records["observation"].tolist()} for one in
               ("trained", kind)}  # fmt: skip
    assert not of_kind[kind] & replay
    state = state_of(path)
    waiting = [lane for lane in state["collector"]["gate"]["waiting"] if lane]
    waits = {tuple(o) for lane in waiting for o in lane["observation"].tolist()}
    assert of_kind["trained"] <= replay | waits
    # The replay has as many records as trained steps and resets, but for those that wait; steps aside count as steps.
    steps = state["collector"]["gate"]["steps"]
    assert sum(steps.values()) == state["collector"]["step"]
    aside = steps["staged"] + steps["heldout"]
    assert steps[kind] == aside >= rows.loc[rows["kind"] == kind, "length"].sum() > 0
    last = metrics_of(path)[-1]
    assert 0 < last[f"replay/{kind}_steps"] <= aside
    records = state["replay"]["ticks"] * 3 + sum(len(lane["is_first"]) for lane in waiting)
    trained_episodes = records - steps["trained"]  # one reset each
    finished = int((rows["kind"] == "trained").sum())
    assert finished <= trained_episodes <= finished + 3
    # Only trained steps earn updates.
    clock = Ratio(config.train.train_every, max(config.train.prefill, 3 * config.train.length))
    assert state["updates"] == clock.allowed(steps["trained"]) < clock.allowed(state["collector"]["step"])


def test_staged_episodes_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[EpisodeEvidence] = []
    record = Recording._record

    def keep(self: Recording, *args: Any) -> EpisodeEvidence:
        records.append(record(self, *args))
        return records[-1]

    monkeypatch.setattr(Recording, "_record", keep)
    run(tmp_path, of("robust-plr"))
    assert {one.kind for one in records} == {"trained", "staged"}
    for one in records:
        assert one.rewards is not None
        assert one.values is not None
        assert (one.rewards.shape, one.values.shape) == ((one.steps,), (one.steps + 1,))
        assert one.loss is None
        assert one.theta_id >= 0
        assert one.step >= 48  # an untrained model measures nothing


def test_held_out_episodes_are_measured_in_rounds_and_never_when_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[tuple[int, float]] = []
    lefts: list[tuple[int, int, int]] = []
    record = Recording._record

    def keep(self: Recording, finished: Finished, kind: Any, step: int, left: int) -> EpisodeEvidence:
        found = record(self, finished, kind, step, left)
        if kind == "heldout":
            assert found.loss is not None
            measured.append((step, float(found.loss.mean())))
            lefts.append((step, found.theta_id, left))
        return found

    monkeypatch.setattr(Recording, "_record", keep)
    config = of("heldout-loss")
    config = replace(config, curriculum=replace(config.curriculum, settings={"share": 0.4, "every": 10, "fill": 0.05}))
    path = run(tmp_path, config)
    rows = read_rows(path / "episodes.parquet")
    first = rows.loc[rows["kind"] == "heldout", "step"].tolist()
    assert len(measured) > len(first) > 0
    again = [step for step, _ in measured]
    assert len(lefts) == len(set(lefts))  # each of a θ's in a round has its own number, down to 0
    assert {(step, i) for step, i, _ in lefts} == {(step, i) for step, i, left in lefts if left == 0}
    # At the first tick after each multiple of 10 at which no update is outstanding, all that are held.
    assert again == [step for mark in sorted(set(again)) for step in [mark] * sum(s <= mark for s in first)]
    assert len(set(again)) == len({step // 10 for step in again}) > 1
    assert len({loss for _, loss in measured}) > len(first)  # the model has changed in between
    held = state_of(path)["recording"]["store"]["episodes"]
    assert len(held) == len(first)


def test_the_store_keeps_the_newest_of_each_theta_and_no_more_than_fits() -> None:
    from waker.collection.episode import Episode

    def one(theta_id: int, seed: int, size: int = 10) -> Finished:
        return Finished(Episode(np.zeros(1), theta_id, seed), "heldout", {"x": np.zeros(size)}, np.zeros(1))

    store = Heldout(each=4, most_bytes=80 * 6)
    for seed in range(6):
        store.add(one(0, seed))
    assert [held.episode.seed for held in store] == [2, 3, 4, 5]
    for seed in range(10, 13):
        store.add(one(1, seed))
    assert [held.episode.seed for held in store] == [3, 4, 5, 10, 11, 12]  # the oldest had to go
    store.add(one(2, 99, size=1000))
    assert [held.episode.seed for held in store] == [3, 4, 5, 10, 11, 12]  # too large by itself: it costs nobody
    again = Heldout()
    again.load_state_dict(store.state_dict())
    assert [held.episode.seed for held in again] == [3, 4, 5, 10, 11, 12]


@pytest.mark.parametrize("every", [10, 50, 100])
def test_no_theta_gets_all_episodes_for_having_been_held_out_first(every: int) -> None:
    """500 episodes of 18 θ that are all alike; the model is measured after each ``every`` of them."""
    from waker.collection.episode import Episode
    from waker.collection.replay_gate import ReplayGate
    from waker.replay.ring import Replay

    points, largest = np.arange(18.0)[:, None], []
    for seed in range(12):
        made: Any = make_curriculum(
            "heldout-loss",
            FiniteThetaSpace([Parameter("x", "")], points),
            CurriculumConfig(),
            np.random.default_rng(seed),
        )
        rng, store, counts = np.random.default_rng((7, seed)), Heldout(made.needs.heldout_each), np.zeros(18)
        replay = Replay({"is_first": ((), np.bool_)}, 1, 10)
        gate = ReplayGate(replay, np.random.default_rng((8, seed)), made.needs.heldout, stored=store.count)
        for n in range(1, 501):
            theta_id = int(made.sample(1).ids[0])
            counts[theta_id] += 1
            if gate.choose([theta_id], None) == ["heldout"]:
                loss = rng.normal(10.0, 1.0, 5)
                store.add(Finished(Episode(points[theta_id], theta_id, n), "heldout", {"loss": loss}, np.zeros(1)))
            if n % every == 0:
                left = Counter(held.episode.theta_id for held in store)
                for held in store:
                    i = held.episode.theta_id
                    left[i] -= 1
                    made.learn_episode(
                        EpisodeEvidence(step=n, theta=points[i], theta_id=i, steps=5, kind="heldout", left=left[i],
                                        loss=held.records["loss"] / np.sqrt(n))
                    )  # fmt: skip
        largest.append(counts.max() / 500)
    assert np.mean(largest) <= 0.15
    assert max(largest) <= 0.25


def test_the_store_keeps_rare_theta_when_it_is_full() -> None:
    from waker.collection.episode import Episode

    def one(theta_id: int, seed: int) -> Finished:
        return Finished(Episode(np.zeros(1), theta_id, seed), "heldout", {"x": np.zeros(10)}, np.zeros(1))

    store = Heldout(each=4, most_bytes=80 * 5)
    store.add(one(7, 0))  # the oldest of all, and the only one of its θ
    for seed in range(1, 5):
        store.add(one(1, seed))
    for seed in (5, 6):
        store.add(one(2, seed))
    assert [held.episode.seed for held in store] == [0, 3, 4, 5, 6]
    store.add(one(2, 7))
    assert [held.episode.seed for held in store] == [0, 3, 4, 6, 7]  # it had most itself
    assert [store.count(i) for i in (7, 1, 2, 3)] == [1, 2, 2, 0]


# Nothing asked, nothing changed -----------------------------------------------------------------------------------


def test_who_asks_for_nothing_has_a_run_without_records(tmp_path: Path) -> None:
    path = run(tmp_path, of("dr"))
    state, row = state_of(path), metrics_of(path)[-1]
    assert "recording" not in state
    assert "gate" not in state["collector"]
    assert not [name for name in row if "evidence" in name or "staged" in name or "heldout" in name]
    assert "kind" not in read_rows(path / "episodes.parquet")


def test_records_change_nothing_but_the_choice_of_theta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Level replay that is told nothing chooses by DR, with the same numbers as one whose records are made."""
    config = of("plr")
    family, silent = Family.of(config), {"learn_episode": lambda self, evidence: None}
    for name, method in silent.items():
        monkeypatch.setattr("waker.curriculum.level_replay.table.LevelReplay." + name, method)
    one = run(tmp_path / "one", config, family)
    monkeypatch.setattr(Recording, "_tell", lambda self, finished, kind, step: None)
    two = run(tmp_path / "two", config, family)
    a, b = outcome(one), outcome(two)
    assert a["replay"] == b["replay"]
    for key, value in a["state"].items():
        if "/recording/" not in key:
            assert repr(value) == repr(b["state"][key]), key


def test_theta_of_start_states_is_told_on_a_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampler of a table on a box that reads an update's record: it has θ itself beside its ids."""
    records: list[Evidence] = []

    class Reader:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        @property
        def needs(self) -> Any:
            from waker.curriculum.evidence import needs

            return needs(update=("loss",))

        def learn(self, evidence: Evidence) -> None:
            records.append(evidence)

        def learn_episode(self, evidence: EpisodeEvidence) -> None:
            raise AssertionError("not asked for")

    config = of("waker-m")
    family = family_of(Push, env_id=config.env)
    made: dict[str, Any] = factories(config, family)
    inner = made["make_curriculum"]
    chosen: list[Any] = []

    def make(rng: Any) -> Any:
        reader = Reader(inner(rng))
        chosen.append(reader.inner)
        return reader

    made["make_curriculum"] = make
    dummies.run(tmp_path, config, **made)
    assert len(records) == state_of(next(tmp_path.rglob("config.yaml")).parent)["updates"]
    for record in records:
        assert record.theta is not None
        assert record.theta.shape == (8, 2)
        for i, theta in zip(record.theta_id.tolist(), record.theta, strict=True):
            known = np.isnan(theta).all() if i < 0 else np.array_equal(theta, chosen[0].thetas[i])
            assert known


def test_theta_by_number_leave_with_the_replay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a ring of some forty steps only the newest draws are kept, and every replayed step still finds its θ."""
    monkeypatch.setattr("waker.training.recording._LOOK_AFTER", 4)
    config = of("waker-m")
    config = replace(config, train=replace(config.train, replay=40))
    family = family_of(Push, env_id=config.env)
    sizes: list[int] = []
    forget = Recording._forget_old

    def watched(self: Recording) -> None:
        forget(self)
        sizes.append(len(self.thetas))
        if self._replay is not None and self._replay.ticks > self._replay.size:
            held = self._replay.arrays["theta_id"]
            assert set(held[held >= 0].tolist()) <= self.thetas.keys()
            assert min(self.thetas) >= held[held >= 0].min()

    monkeypatch.setattr(Recording, "_forget_old", watched)
    made: dict[str, Any] = factories(config, family)
    inner = made["make_curriculum"]

    class Asking:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        @property
        def needs(self) -> Any:
            from waker.curriculum.evidence import needs

            return needs(update=("loss",))

        def learn(self, evidence: Evidence) -> None:
            assert evidence.theta is not None
            assert np.isfinite(evidence.theta[evidence.theta_id >= 0]).all()

        def learn_episode(self, evidence: EpisodeEvidence) -> None:
            raise AssertionError("not asked for")

    made["make_curriculum"] = lambda rng: Asking(inner(rng))
    dummies.run(tmp_path, config, **made)
    assert len(sizes) > 2
    assert max(sizes) <= 8


# Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "changes", "message"),
    [
        ("sfl", {}, "reads success.*no info\\['completion'\\]"),
        ("task-plr", {"train.task_policies": "after"}, "reads task_rewards, task_values.*task_policies = online"),
        ("plr", {"explorer.name": "random"}, "reads rewards, values.*'random' learns no policy and no critic"),
    ],
)
def test_what_cannot_be_measured_is_told_before_training(
    sampler: str, changes: Mapping[str, Any], message: str
) -> None:
    config = of(sampler).with_(**changes)
    with pytest.raises(UserError, match=f"sampler '{sampler}' {message}"):
        check_buildable(config, Family.of(config))


# A third party's ---------------------------------------------------------------------------------------------------


class TheirsWithStaging:
    """Level replay of another package, which has no ``staged`` before its first sample."""

    def __init__(self, inner: Any) -> None:
        self.inner, self._staged = inner, None

    @property
    def staged(self) -> Any:
        if self._staged is None:
            raise AttributeError("nothing has been sampled yet")
        return self._staged

    def sample(self, n: int) -> Any:
        found = self.inner.sample(n)
        self._staged = self.inner.staged
        return found

    def load_state_dict(self, state: Any) -> None:
        self.inner.load_state_dict(state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["inner"], name)


def test_a_third_partys_episodes_are_staged_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from waker.curriculum import registry

    def make_theirs(space: Any, config: Any, rng: Any, samples: int) -> Any:
        return TheirsWithStaging(make_curriculum("robust-plr", space, replace(config, settings=HASTE), rng, samples))

    ours = run(tmp_path / "ours", of("robust-plr"))
    monkeypatch.setitem(registry.CURRICULA.registered, "theirs", make_theirs)
    theirs = run(tmp_path / "theirs", of("theirs"))
    steps = [state_of(path)["collector"]["gate"]["steps"] for path in (ours, theirs)]
    assert steps[0] == steps[1]
    assert steps[1]["staged"] > 0
