"""A small run audited: its page, rows and numbers; a constant is found; and what is refused, in one line each."""

from __future__ import annotations

import copy
import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.helpers.tiny import RUN, refused
from waker.agent.contrastive_policy import ContrastiveSettings
from waker.agent.head_fit import CHECK, HeadSettings
from waker.agent.rest_policy import RestSettings
from waker.agent.self_policy import SelfSettings
from waker.analysis.glossary import section
from waker.cli import main
from waker.errors import UserError
from waker.model.preference_heads import PreferenceHeads
from waker.preferences import table
from waker.preferences.imagined import imagined_of
from waker.preferences.segments import arrived, candidates
from waker.replay.ring import Replay
from waker.storage.sealed import read_json, write_json
from waker.storage.tables import read_rows
from waker.terminal.progress import Progress
from waker.training.adapt_preferences import PreferenceAdaptation, lesson
from waker.training.audit import AuditSettings, _Maker, audit
from waker.training.audit_features import AuditFeatures, read_features
from waker.training.audit_results import Audit, constant_of, unit_of
from waker.training.audit_steps import edited, excerpt, replay_steps, segment_sums
from waker.training.audited_head import AuditedHead, find_head
from waker.training.loading import LoadedRun, load_run
from waker.training.preference_methods import find_method

FEATURES = '''"""What is under the agent, and what the room is like."""
import numpy as np

TARGETS = ("green",)


def features(observation):
    side = int(np.sqrt(observation["cells"].shape[-1]))
    cell = (observation["agent"] @ [side, 1])[..., None]
    here = np.take_along_axis(observation["cells"], cell, -1)[..., 0]
    return {"green": here == 4, "red": here == 6, "row": observation["agent"][..., 0],
            "slippery": (observation["cells"] == 1).any(-1)}


def of_theta(theta):
    return {"large and slippery": (theta["size"] > 3) * (theta["slip"] > 0)}
'''
HEAD = HeadSettings(members=2, patience=1, most=2 * CHECK)


def note(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture(scope="module")
def place(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose policy for ``mytask`` was taught by answers and measured, and features beside it; for reading."""
    folder = tmp_path_factory.mktemp("audited")
    shutil.copytree(finished / RUN, folder / "run")
    (folder / "features.py").write_text(FEATURES)
    run, file = str(folder / "run"), str(folder / "q.parquet")
    assert main(["ask", run, "--queries", "40", "--length", "3", "--no-page", "--out", file]) == 0
    assert main(["answer", file, "--teacher", "oracle", "--task", "green", "--run", run]) == 0
    loaded = load_run(folder / "run", note)
    taught = lesson(loaded, "mytask", folder / "q.parquet", HEAD, note)
    PreferenceAdaptation(loaded, taught, Progress("test", 1, quiet=True)).run(1)
    assert main(["evaluate", run, "--as", "mytask=green", "--episodes", "18", "--model-episodes", "1"]) == 0
    return folder


@pytest.fixture(scope="module")
def loaded(place: Path) -> LoadedRun:
    return load_run(place / "run", note)


def found(loaded: LoadedRun, place: Path, head: AuditedHead | None = None, **changes: Any) -> Audit:
    settings = AuditSettings(**{"task": "green", "pairs": 200, **changes})
    return audit(loaded, loaded.replay(note), read_features(str(place / "features.py")), settings, note, head)


def test_a_run_is_audited_on_the_command_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], undrawn: None
) -> None:
    page, numbers = tmp_path / "page" / "mine.html", tmp_path / "mine.json"
    asked = ["audit", str(place / "run"), "--features", str(place / "features.py"), "--task", "green"]
    assert main([*asked, "--pairs", "200", "--out", str(page), "--json", str(numbers)]) == 0
    told = capsys.readouterr().out
    for line in ("imprint of the head: green", "imprint of the true reward: green", "answers (", "new pairs ("):
        assert line in told
    assert "onstant is added to the head" in told and "slip recoloured: " in told and "lost, by θ: size" in told
    tables = {
        name: pd.read_csv(page.with_name(f"mine-{name}.csv"))
        for name in ("imprint", "resistance", "robustness", "theta")
    }
    plain = read_json(numbers)
    for name, rows in tables.items():
        assert len(plain[name]) == len(rows) > 0
    explained = {entry.name for part in ("audit", "tables") for entry in section(part)}
    assert {name for rows in tables.values() for name in rows} <= explained
    assert plain["about"]["head"] == "mytask" and plain["about"]["taught by"] == "preferences"
    assert "NaN" not in numbers.read_text()
    html = page.read_text(encoding="utf-8")
    for title in ("Feature imprint", "Alignment resistance", "Robustness under edits", "What makes the policy fail"):
        assert f"<h2>{title}</h2>" in html
    assert "mine-imprint.csv" in html and "http" not in html.replace("http-equiv", "")
    assert not list((place / "run").glob("audit*"))  # nothing went elsewhere


def test_the_page_lies_in_the_run_s_folder_where_nothing_else_is_said(
    place: Path, tmp_path: Path, undrawn: None, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    features = str(place / "features.py")
    assert main(["audit", str(tmp_path / "run"), "--features", features, "--head", "green", "--pairs", "50"]) == 0
    assert (tmp_path / "run" / "audit.html").is_file() and (tmp_path / "run" / "audit-imprint.csv").is_file()


def test_the_imprint_of_the_true_reward_is_the_task(loaded: LoadedRun, place: Path) -> None:
    rows = found(loaded, place).imprint
    true = rows[(rows["reward"] == "true") & (rows["effects"] == "pooled")].set_index("feature")
    assert true.loc["green", "estimate"] > 0 and true.loc["green", "tag"] == "target"
    spoilers = true.drop("green")
    assert (spoilers["estimate"] == 0).all() and set(spoilers["tag"]) == {"spoiler"}
    # One over the reward's deviation is what the tile pays.
    steps = replay_steps(loaded, loaded.replay(note), read_features(str(place / "features.py")), {}, 20_000, 0)
    assert true.loc["green", "estimate"] == pytest.approx(1 / steps.truth[:, 0].std())
    np.testing.assert_array_equal(steps.features["green"], steps.truth[:, 0])


def test_steps_are_those_of_the_replay_each_once(loaded: LoadedRun, place: Path) -> None:
    replay, features = loaded.replay(note), read_features(str(place / "features.py"))
    head = find_head(loaded, "mytask", "", note)
    steps = replay_steps(loaded, replay, features, {"head": head.now}, 10**6, 0)
    inside = replay.read(replay.first, replay.ticks)
    led = ~inside["is_first"]
    led[:, :: loaded.config.train.length] = False  # a piece's first record has no step that is known
    assert steps.n == led.sum() and steps.unit == "rooms"
    assert steps.truth.sum() == pytest.approx(inside["task_rewards"][led].sum())
    rooms = np.unique(np.concatenate([inside["theta_id"][led][:, None], inside["cells"][led]], 1), axis=0)
    assert steps.rooms == len(rooms)
    assert replay_steps(loaded, replay, features, {}, 30, 0).n == 30


def test_an_episode_that_is_read_in_pieces_is_one(loaded: LoadedRun, place: Path) -> None:
    """In a single room episodes are what errors are clustered by: two a slot here, each longer than a piece."""
    held = loaded.replay(note)
    records = held.read(held.first, held.ticks)
    begins = np.zeros_like(records["is_first"])
    middle = held.ticks // 2 + 1
    assert middle - held.first > loaded.config.train.length < held.ticks - middle
    begins[:, 0] = begins[:, middle - held.first] = True
    one_room = {name: np.zeros_like(records[name]) for name in ("theta_id", "cells")}
    one = Replay({name: (v.shape[2:], v.dtype) for name, v in records.items()}, held.slots, held.slots * held.ticks)
    one.fill(0, {**records, **one_room, "is_first": begins})
    steps = replay_steps(loaded, one, read_features(str(place / "features.py")), {}, 10**6, 0)
    assert steps.unit == "episodes" and steps.rooms == 2 * held.slots


def shifted(head: AuditedHead, by: float) -> None:
    assert isinstance(head.now.heads, PreferenceHeads)
    head.now.heads.offset -= by * head.now.heads.scale


def test_a_constant_that_is_added_to_the_head_is_found(loaded: LoadedRun, place: Path) -> None:
    head = find_head(loaded, "mytask", "", note)
    before = found(loaded, place, head)
    shifted(head, -2.0)
    after = found(loaded, place, head)
    assert before.constant is not None and after.constant is not None
    features, replay = read_features(str(place / "features.py")), loaded.replay(note)
    paid = replay_steps(loaded, replay, features, {"head": head.now}, 20_000, after.about["step"]).rewards["head"]
    assert after.constant.value - before.constant.value == pytest.approx(-2.0 / unit_of(paid), rel=1e-3)
    assert after.constant.found and after.constant.told.startswith("A constant is added to the head: ")
    assert after.constant.high < -0.5
    # What is standardised does not know of it.
    both = [a.imprint[a.imprint["reward"] == "head"]["estimate"].dropna() for a in (before, after)]
    np.testing.assert_allclose(*both, atol=1e-4)
    shifted(head, 2.0)


def test_the_constant_is_what_the_unpaid_is_paid() -> None:
    rng = np.random.default_rng(0)
    truth, room = (rng.random(600) < 0.2).astype(float), np.arange(600) % 12
    value, low, high = constant_of(-2.0 + 1.5 * truth + 0.1 * rng.normal(size=600), truth, room)
    assert value == pytest.approx(-2.0, abs=0.02) and low < -2.0 + 0.02 and high > -2.0 - 0.02 and high - low < 0.1
    value, low, high = constant_of(truth, truth, room)
    assert value == pytest.approx(0.0, abs=1e-12) and low == high
    value, low, high = constant_of(truth - 1.0 + 0.1 * rng.normal(size=600), truth, room % 2)
    assert value == pytest.approx(-1.0, abs=0.02) and np.isnan(low) and np.isnan(high)  # of two rooms
    assert unit_of(np.array([0.0] * 90 + [2.0] * 10)) == 2.0
    assert unit_of(np.array([0.0] * 999 + [3.0])) == 3.0  # so rare that no quantile knows of it


def test_the_beginning_of_a_head_is_drawn_again_bit_for_bit(place: Path, tmp_path: Path, loaded: LoadedRun) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    again = load_run(tmp_path / "run", note)
    file = shutil.copy(place / "q.parquet", tmp_path)
    made = PreferenceAdaptation(again, lesson(again, "other", Path(file), HEAD, note), Progress("test", 1, quiet=True))
    began = find_head(loaded, "mytask", "", note).before.heads
    for a, b in zip(began.parameters(), made.adapter.heads.parameters(), strict=True):
        assert torch.equal(a, b)


def test_resistance_counts_pairs_by_their_sums(loaded: LoadedRun, place: Path) -> None:
    """The four classes of the answers again, from sums a step at a time."""
    replay, head = loaded.replay(note), find_head(loaded, "mytask", "", note)
    answers = table.answers_of(place / "q.parquet", table.read(place / "q.parquet"))
    sums = [segment_sums(loaded, replay, s, {"now": head.now, "before": head.before}) for s in answers.pairs]
    right = {
        name: (sums[0][name] - sums[1][name])[answers.label != 0.5] * (answers.label[answers.label != 0.5] - 0.5) > 0
        for name in ("now", "before")
    }
    rows = found(loaded, place).resistance
    of = rows[rows["pairs"] == "answers"].set_index("class")["hits"]
    assert of["stayed aligned"] == (right["now"] & right["before"]).sum()
    assert of["reversed"] == (~right["now"] & right["before"]).sum()
    assert of["resistance"] == (~right["now"]).sum()


def test_an_excerpt_holds_the_same_segments(loaded: LoadedRun) -> None:
    replay = loaded.replay(note)
    some = candidates(replay, 3)
    some = some.at(np.arange(0, some.n, 7))
    small, at = excerpt(replay, some, 8)
    for name in ("agent", "cells", "action", "task_rewards"):
        a, b = arrived(replay, name, some), arrived(small, name, at)
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


def test_edits_reach_the_observations_of_the_slots_that_they_change(loaded: LoadedRun) -> None:
    replay, env = loaded.replay(note), loaded.family.make().unwrapped
    some = candidates(replay, 3).at(np.arange(10))
    small, _ = excerpt(replay, some, 8)
    made = edited(env, loaded.family.spec, "green", small)
    assert made is not None and "slip recoloured" in made
    for name, (after, changed) in made.items():
        differs = (after.arrays["cells"] != small.arrays["cells"]).any((1, 2)) | (
            after.arrays["agent"] != small.arrays["agent"]
        ).any((1, 2))
        np.testing.assert_array_equal(differs, changed, err_msg=name)
    assert made["slip recoloured"][1].all()
    assert edited(object(), loaded.family.spec, "green", small) is None


def test_a_family_whose_edits_fail_or_are_not_there(loaded: LoadedRun) -> None:
    replay, env = loaded.replay(note), loaded.family.make().unwrapped
    small, _ = excerpt(replay, candidates(replay, 3).at(np.arange(2)), 8)

    class Family:
        observation_space = env.observation_space

        def __init__(self, error: Exception) -> None:
            self.error = error

        def neutral_edits(self, task: str, states: Any) -> Any:
            raise self.error

    assert edited(Family(NotImplementedError()), loaded.family.spec, "green", small) is None
    with pytest.raises(UserError, match=r"neutral_edits of waker/GridHazards-v0 failed: ValueError: no"):
        edited(Family(ValueError("no")), loaded.family.spec, "green", small)


def test_robustness_is_told_of_both_segments_and_of_each(loaded: LoadedRun, place: Path) -> None:
    rows = found(loaded, place).robustness
    assert set(rows["side"]) == {"both", "chosen", "rejected"} and set(rows["edit"]) >= {"slip recoloured"}
    assert (rows["wrong"] <= rows["right"]).all() and (rows["right"] <= rows["pairs"]).all()
    one, both = (rows[rows["side"] == side]["pairs"].sum() for side in ("chosen", "both"))
    assert one <= both


def test_theta_rows_are_of_this_policy_s_episodes(loaded: LoadedRun, place: Path) -> None:
    result = found(loaded, place)
    assert set(result.theta["feature"]) == {"size", "hazards", "slip", "large and slippery"}
    assert result.about["evaluated episodes"] == 18 and set(result.theta["reward"]) == {"share lost"}


def remeasured(place: Path, to: Path, **columns: Any) -> Path:
    """A copy of the run whose rows of evaluations have other values."""
    shutil.copytree(place / "run", to)
    file = to / "evaluation.parquet"
    rows = read_rows(file)
    shutil.rmtree(file)
    rows.assign(**columns).to_parquet(file)
    return to


def test_a_policy_that_was_taught_anew_is_not_told_by_the_old_one_s_episodes(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    again = load_run(tmp_path / "run", note)
    taught = lesson(again, "mytask", place / "q.parquet", HEAD, note)
    PreferenceAdaptation(again, taught, Progress("test", 2, quiet=True)).run(2)
    result = found(again, place)
    assert result.theta.empty and "evaluated episodes" not in result.about
    assert [text for text in result.notes if "was not measured since it was taught: `waker evaluate RUN --as" in text]


def test_episodes_of_an_earlier_step_are_not_those_of_this_model(place: Path, tmp_path: Path) -> None:
    step = load_run(place / "run", note).step
    older = load_run(remeasured(place, tmp_path / "older", step=step - 1), note)
    result = found(older, place)
    assert result.theta.empty and any("not measured since it was taught" in text for text in result.notes)


def test_later_rows_of_somebody_else_hide_none(place: Path, loaded: LoadedRun, tmp_path: Path) -> None:
    rows = read_rows(place / "run" / "evaluation.parquet")
    step = rows["step"].where(rows["policy"] != "random", rows["step"] + 1)
    result = found(load_run(remeasured(place, tmp_path / "run", step=step), note), place)
    pd.testing.assert_frame_equal(result.theta, found(loaded, place).theta)


def test_without_the_truth_only_the_head_and_the_answers_are_told(loaded: LoadedRun, place: Path) -> None:
    result = found(loaded, place, task="")
    assert set(result.imprint["reward"]) <= {"head", "before", "head − before", "reward shift"}
    assert set(result.resistance["pairs"]) == {"answers"} and result.robustness.empty
    assert any("--task names" in text for text in result.notes)
    assert result.constant is not None and np.isnan(result.constant.low)


def test_a_reward_task_s_head_is_audited_too(loaded: LoadedRun, place: Path) -> None:
    features, settings = read_features(str(place / "features.py"), ("green",)), AuditSettings(head="blue", pairs=50)
    features = dataclasses.replace(features, targets=None)
    own = audit(loaded, loaded.replay(note), features, settings, note)
    assert own.about["task"] == "blue" and own.about["taught by"] == "rewards"
    assert set(own.resistance["pairs"]) <= {"new pairs"}


GROWING: dict[str, Any] = {"clone": 1, "batch": 2, "rounds": 1, "starts": 2, "candidates": 2, "horizon": 2}
DIRECT = {
    "rest": RestSettings(**GROWING, margin=0.0, steps=1, levels=(50.0,)),
    "self": SelfSettings(**GROWING, margin=0.0, steps=1),
    "cpl": ContrastiveSettings(clone=1, batch=2, updates=1, draws=1),
}


def by_method(place: Path, to: Path, method: str) -> tuple[LoadedRun, PreferenceHeads | None]:
    """A copy of the run with a policy ``direct`` by that method; and what its head began with."""
    shutil.copytree(place / "run", to)
    loaded = load_run(to, note)
    taught = lesson(loaded, "direct", place / "q.parquet", HEAD, note, method, DIRECT[method])
    made: Any = find_method(method).adaptation(loaded, taught, Progress("test", 1, quiet=True))
    began = copy.deepcopy(made.adapter.heads)
    made.run(2)
    return loaded, began


@pytest.mark.parametrize("method", ["rest", "self"])
def test_the_head_that_judges_a_direct_method_is_audited(place: Path, tmp_path: Path, method: str) -> None:
    own, began = by_method(place, tmp_path / "run", method)
    assert began is not None
    head = find_head(own, "", "", note)
    assert head.name == "direct" and head.preferences
    for a, b in zip(head.before.heads.parameters(), began.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(head.now.heads.parameters(), began.parameters(), strict=True))
    assert set(found(own, place, head).resistance["pairs"]) == {"answers", "new pairs"}


def test_a_method_without_a_head_says_so(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, _ = by_method(place, tmp_path / "run", "cpl")
    reason = "direct was taught by method cpl, which makes a policy of the answers without a reward head"
    asked = ["audit", str(tmp_path / "run"), "--features", str(place / "features.py"), "--head", "direct"]
    assert reason in refused(asked, capsys)
    told: list[str] = []
    assert find_head(own, "", "", told.append).name == "mytask"  # taught before it
    assert len(told) == 1 and reason in told[0]
    shutil.rmtree(tmp_path / "run" / "adapted" / "mytask")
    assert reason in refused(asked[:-2], capsys)


def test_answers_about_what_the_model_imagined_are_found_beside_their_file(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    run, file = str(tmp_path / "run"), tmp_path / "dreamt.parquet"
    asked = ["--source", "imagined", "--queries", "40", "--length", "3", "--no-page", "--out", str(file)]
    assert main(["ask", run, *asked]) == 0
    frame = table.read(file)
    table.write(file, frame.assign(label=np.arange(40) % 3 / 2, labeller="human"))
    dreamer = load_run(tmp_path / "run", note)
    taught = lesson(dreamer, "dreamt", file, HEAD, note)
    PreferenceAdaptation(dreamer, taught, Progress("test", 1, quiet=True)).run(1)
    result = found(dreamer, place, find_head(dreamer, "dreamt", "", note))
    assert not any("no longer holds" in text for text in result.notes)
    # The same from sums over the imagined segments, a step at a time.
    replay, head = imagined_replay(file), find_head(dreamer, "dreamt", "", note)
    label = taught.answers.label
    sums = [segment_sums(dreamer, replay, s, {"now": head.now})["now"] for s in taught.answers.pairs]
    wrong = ((sums[0] - sums[1]) * (label - 0.5) <= 0)[label != 0.5].sum()
    of = result.resistance[result.resistance["pairs"] == "answers"].set_index("class")
    assert of.loc["resistance", "hits"] == wrong and of.loc["resistance", "n"] == (label != 0.5).sum() > 0


def imagined_replay(file: Path) -> Replay:
    held = imagined_of(file, table.read(file))
    assert held is not None
    return held.replay


def test_a_side_s_feature_that_tells_nothing_is_left_out_of_the_shift(place: Path, loaded: LoadedRun) -> None:
    """Of segments of three steps ``one`` sums to 3 on both sides, and ``twice`` follows ``row``."""

    def named(observation: Any) -> dict[str, Any]:
        row = observation["agent"][..., 0].astype(float)
        return {"row": row, "one": row * 0.0 + 1.0, "twice": 2.0 * row, "column": observation["agent"][..., 1]}

    made = _Maker(
        loaded,
        loaded.replay(note),
        AuditFeatures("f.py:named", named),
        AuditSettings(),
        find_head(loaded, "mytask", "", note),
        "green",
        note,
    )
    whole = table.answers_of(place / "q.parquet", table.read(place / "q.parquet"))
    chosen = (whole.label != 0.5) & (whole.pairs.first.length == 3) & (whole.pairs.second.length == 3)
    label, pairs = np.tile(whole.label[chosen], 4), whole.pairs.at(np.tile(np.flatnonzero(chosen), 4))
    assert len(label) > 5
    made._shift(table.Answers(pairs, label), made.replay)
    assert any("'chosen: one' is the same in all answers" in text for text in made.notes), made.notes
    assert any("'rejected: twice' is a sum of multiples of 'rejected: row'" in text for text in made.notes)
    assert not any("--without" in text and ": one" in text for text in made.notes)
    kept = {one.feature for one in made.shift}
    assert kept and not kept & {"chosen: one", "rejected: one", "chosen: twice", "rejected: twice"}


def test_answers_that_are_gone_are_told(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    file = tmp_path / "run" / "adapted" / "mytask" / "head.json"
    write_json(file, {**read_json(file), "file": str(tmp_path / "gone.parquet")}, 1)
    moved = load_run(tmp_path / "run", note)
    result = found(moved, place, task="")
    assert result.resistance.empty and any("--preferences tells where" in text for text in result.notes)
    told = found(moved, place, task="", preferences=place / "q.parquet")
    assert set(told.resistance["pairs"]) == {"answers"}


OWN = "import numpy as np\n\n\ndef features(observation):\n    agent = observation['agent']\n    {body}\n"


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        (None, [], "no file of features"),
        ("x = 1\n", [], "has no function of the observation"),
        ("def a(o):\n    return {}\n\n\ndef b(o):\n    return {}\n", [], "has several functions; say which"),
        ("1/0\n", [], "cannot be imported: ZeroDivisionError"),
        (OWN.format(body="return {}"), [], "must return a dict of named features"),
        (OWN.format(body="return agent"), [], "must return a dict of named features"),
        (OWN.format(body="return {'agent': agent}"), [], r"feature 'agent' must be finite numbers of shape"),
        (OWN.format(body="return {'row': agent[..., 0] / 0}"), [], "must be finite numbers of shape"),
        (
            OWN.format(body="return {'row': observation['rows']}"),
            [],
            "failed: KeyError: 'rows'; there are agent, cells",
        ),
        (
            OWN.format(body="return {'one': 0 * agent[..., 0] + 1, 'row': agent[..., 0]}"),
            [],
            "feature 'one' is the same in",
        ),
        (
            OWN.format(body="r = agent[..., 0] * 1.0\n    return {'row': r, 'up': 4 - 2 * r}"),
            [],
            "'up' is a sum of multiples of 'row' .*--without up",
        ),
        (FEATURES, ["--without", "slipery"], "unknown feature 'slipery'; did you mean 'slip"),
        (FEATURES, ["--without", "green", "red", "row", "slippery"], "has no features left"),
        (FEATURES.replace('("green",)', '("gren",)'), [], "TARGETS of .* did you mean 'green'"),
        (FEATURES.replace('("green",)', '"green"'), [], "TARGETS of .* must be a tuple"),
        (FEATURES.replace('{"large', '[] and {"large'), [], "of_theta of .* must return a dict"),
        (
            FEATURES.replace('(theta["size"] > 3) * (theta["slip"] > 0)', "1.0"),
            [],
            "'large and slippery' must be finite",
        ),
        (FEATURES, ["--head", "grean"], "unknown head 'grean'; did you mean 'green'"),
        (FEATURES, ["--task", "grean"], "unknown task 'grean'; did you mean 'green'"),
        (FEATURES, ["--before", "grean"], "unknown head 'grean'; did you mean 'green'"),
        (FEATURES, ["--preferences", "none.csv"], "no preference file"),
        (FEATURES, ["--steps", "5"], "5 steps are too few for the 4 features"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    place: Path, tmp_path: Path, text: str | None, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "f.py"
    if text is not None:
        file.write_text(text)
    asked = ["audit", str(place / "run"), "--features", str(file), "--pairs", "20", *more]
    assert re.search(said, refused(asked, capsys))


def test_a_run_that_nobody_has_taught_says_how(finished: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(finished / RUN)
    said = refused(["audit", run, "--features", str(place / "features.py")], capsys)
    assert "no policy that was taught by preferences: `waker ask` it" in said and "--head names a reward task" in said
    assert "add --features features.py" in refused(["audit", run], capsys)


def test_a_function_is_named_or_the_only_one(tmp_path: Path) -> None:
    file = tmp_path / "f.py"
    file.write_text("import numpy as np\nfrom json import dumps\n\n\ndef mine(observation):\n    return {}\n")
    assert read_features(str(file)).source == read_features(f"{file}:mine").source == f"{file}:mine"
    assert read_features(str(file)).tag("a") == ""
    assert read_features(str(file)).targets is None
