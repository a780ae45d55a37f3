"""A task given by answers: asked, answered, learned, measured; and what is refused, in one line each."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.helpers.tiny import RUN, refused
from waker.agent.head_fit import CHECK, HeadFit, HeadSettings
from waker.cli import main
from waker.cli.verbs.ask import run_option
from waker.cli.verbs.evaluate import judges
from waker.errors import BLEMISHED, UserError
from waker.preferences import table
from waker.preferences.queries import uniform_pairs
from waker.preferences.segments import arrived, candidates
from waker.seeding import stream
from waker.storage.files import sha256
from waker.storage.sealed import read_json, read_yaml
from waker.storage.tables import read_rows
from waker.terminal.progress import Progress
from waker.terminal.signals import Interrupted
from waker.training import asking
from waker.training.adapt_preferences import PreferenceAdaptation, lesson
from waker.training.asking import answer, ask
from waker.training.loading import load_run
from waker.training.loop import Outcome

SETTINGS = HeadSettings(patience=2, most=4 * CHECK)


@pytest.fixture(scope="module")
def answered(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, with answered and open queries beside it."""
    place = tmp_path_factory.mktemp("answered")
    shutil.copytree(finished / RUN, place / "run")
    run, open_, done = str(place / "run"), str(place / "open.parquet"), str(place / "q.parquet")
    assert main(["ask", run, "--queries", "40", "--length", "3", "--out", open_]) == 0
    assert main(["answer", open_, "--teacher", "oracle", "--task", "green", "--run", run, "--out", done]) == 0
    return place


@pytest.fixture
def place(answered: Path, tmp_path: Path) -> Path:
    """A copy of the test's own."""
    shutil.copytree(answered, tmp_path / "place")
    return tmp_path / "place"


def note(text: str) -> None:
    raise AssertionError(text)


def adaptation(place: Path, file: str = "q.parquet", settings: HeadSettings = SETTINGS) -> PreferenceAdaptation:
    loaded = load_run(place / "run", note)
    taught = lesson(loaded, "mytask", place / file, settings, note)
    return PreferenceAdaptation(loaded, taught, Progress("test", 4, quiet=True))


def weights(made: PreferenceAdaptation) -> list[torch.Tensor]:
    heads, policies = made.adapter.heads, made.adapter.policy_learner.policies
    return [t.detach().clone() for t in [*heads.state_dict().values(), *policies.parameters()]]


def test_an_oracle_s_labels_are_the_signs_of_its_sums(answered: Path) -> None:
    loaded, frame = load_run(answered / "run", note), table.read(answered / "q.parquet")
    replay = loaded.replay(note)
    for side, segments in zip((1, 2), table.pairs_of(frame), strict=True):
        rewards, inside = arrived(replay, "task_rewards", segments)
        np.testing.assert_allclose(frame[f"score_{side}"], (rewards[..., 0] * inside).sum(1))
    np.testing.assert_array_equal(frame["label"], 0.5 + 0.5 * np.sign(frame["score_1"] - frame["score_2"]))
    assert set(frame["labeller"]) == {"teacher:oracle"} and set(frame["task"]) == {"green"}
    assert len(set(frame["label"])) > 1


def test_regret_is_exact_and_never_positive(answered: Path) -> None:
    loaded, frame = load_run(answered / "run", note), table.read(answered / "open.parquet")
    replay = loaded.replay(note)
    found = answer(loaded, replay, frame, "oracle", "regret", "green", 0)
    assert (found[["score_1", "score_2"]] <= 1e-12).all().all() and (found["score_1"] < 0).any()
    # By hand, from the family's own values: episodes by their ends in the flags, as rows tell them in their order.
    env, arrays = loaded.family.make().unwrapped, replay.arrays
    rows = read_rows(answered / "run" / "episodes.parquet")
    checked = 0
    for side, segments in zip((1, 2), table.pairs_of(frame), strict=True):
        for n, (slot, tick, length) in enumerate(zip(*(part.tolist() for part in segments), strict=True)):
            ends = np.flatnonzero(arrays["is_last"][slot, : replay.ticks])
            number = int((ends < tick + length).sum())
            if number == len(ends):
                continue  # the episode that was under way at the end has no row
            row = rows[rows["slot"] == slot].iloc[number]
            theta = row[["theta_size", "theta_hazards", "theta_slip"]].to_numpy(float)
            q = env.action_values(theta, "green", int(row["episode_seed"]))
            begin = ends[number] - row["length"]
            total = 0.0
            for t in range(tick, tick + length):
                cell = arrays["agent"][slot, t] @ [env.frame, 1]
                now = q[t - begin, :, cell]
                total += now[arrays["action"][slot, t + 1].argmax()] - now.max()
            assert found[f"score_{side}"][n] == pytest.approx(total)
            checked += 1
    assert checked > 40


def test_rules_that_need_a_head_say_so_and_choose_by_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["ask", str(place / "run"), "--queries", "5", "--length", "3", "--out", str(place / "next.csv")]
    for rule in ("disagreement", "policy"):
        assert "has no head that could choose queries" in refused([*asked, "--rule", rule], capsys)
    adaptation(place).run(2)
    for rule in ("disagreement", "policy"):
        assert main([*asked, "--rule", rule, "--no-page"]) == 0
        frame = table.read(place / "next.csv")
        assert len(frame) == 5 and set(frame["rule"]) == {f"{rule} of mytask"}
        assert not (place / "next.html").exists()
    capsys.readouterr()
    assert "has no head of 'other' that" in refused([*asked, "--rule", "policy", "--name", "other"], capsys)


def test_disagreement_takes_the_best_of_ten_times_as_many(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the measure is of: every member's P(first preferred); its own numbers are tested beside it."""
    adaptation(place).run(2)
    loaded = load_run(place / "run", note)
    replay, seen = loaded.replay(note), list[np.ndarray]()

    def by_number(probability: np.ndarray) -> np.ndarray:
        seen.append(probability)
        return np.arange(probability.shape[1])

    monkeypatch.setattr(asking, "disagreement", by_number)
    found = table.pairs_of(ask(loaded, replay, 10, 3, "disagreement", 5, "", note)[0])
    rng = stream(5, "queries by disagreement")
    rng.integers(2**31)  # the seed of latents
    drawn = uniform_pairs(candidates(replay, 3), 100, rng).at(np.arange(99, 89, -1))
    for a, b in zip([*found.first, *found.second], [*drawn.first, *drawn.second], strict=True):
        np.testing.assert_array_equal(a, b)
    assert seen[0].shape == (3, 100) and ((seen[0] > 0) & (seen[0] < 1)).all() and seen[0].std(0).max() > 0


@pytest.mark.parametrize("checks", [1, 2])
def test_stopped_while_the_head_is_fitted_it_goes_on_bit_for_bit(
    place: Path, checks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = adaptation(place)
    whole.run(3)
    shutil.rmtree(place / "run" / "adapted")
    step, made = HeadFit.step, list[int]()

    def interrupted(self: HeadFit) -> bool:
        over = step(self)
        made.append(self.updates)
        if len(made) == checks:
            os.kill(os.getpid(), signal.SIGTERM)
        return over

    monkeypatch.setattr(HeadFit, "step", interrupted)
    with pytest.raises(Interrupted):
        adaptation(place).run(3)
    second = adaptation(place)
    assert second.run(3) is Outcome.FINISHED
    assert made[checks] == (checks + 1) * CHECK  # it went on, and did not begin anew
    assert second.fit.updates == whole.fit.updates
    for a, b in zip(weights(whole), weights(second), strict=True):
        assert torch.equal(a, b)


def test_policies_go_on_bit_for_bit_and_the_head_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = adaptation(place)
    whole.run(4)
    shutil.rmtree(place / "run" / "adapted")
    adaptation(place).run(2)
    monkeypatch.setattr(HeadFit, "step", lambda self: note("the head was fitted again"))
    second = adaptation(place)
    second.run(4)
    for a, b in zip(weights(whole), weights(second), strict=True):
        assert torch.equal(a, b)
    assert adaptation(place).run(4) is Outcome.SKIPPED


def test_killed_it_goes_on_bit_for_bit(place: Path) -> None:
    """SIGKILL in a process of its own, between the head's end and that of the policies."""
    whole = adaptation(place)
    whole.run(3)
    shutil.rmtree(place / "run" / "adapted")
    child = os.fork()
    if not child:  # pragma: no cover — in the child
        made = adaptation(place)
        update = made.adapter.update

        def killed(batch: object) -> object:
            if made.updates == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return update(batch)  # type: ignore[arg-type]

        made.adapter.update = killed  # type: ignore[assignment, method-assign]
        made.run(3)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    second = adaptation(place)
    second.run(3)
    for a, b in zip(weights(whole), weights(second), strict=True):
        assert torch.equal(a, b)


def test_the_record_holds_the_file_s_checksum_and_other_answers_start_anew(place: Path) -> None:
    adaptation(place).run(2)
    folder = place / "run" / "adapted" / "mytask"
    record = read_yaml(folder / "tasks.yaml")
    assert record["tasks"] == ["mytask"] and record["preferences"]["sha256"] == sha256(place / "q.parquet")
    head = read_json(folder / "head.json")
    assert head["sha256"] == record["preferences"]["sha256"] and head["asked"] == 40 == head["answered"]
    assert head["updates"] % CHECK == 0 and head["scale"] > 0
    frame = table.read(place / "q.parquet")
    table.write(place / "q.parquet", frame.assign(label=1.0 - frame["label"]))
    again = adaptation(place)
    told = list[str]()
    again.progress.note = told.append  # type: ignore[method-assign]
    assert again.run(2) is Outcome.FINISHED
    assert any("the answers or how they are learned from has changed: starting anew" in text for text in told)
    assert read_yaml(folder / "tasks.yaml")["preferences"]["sha256"] == sha256(place / "q.parquet")


def test_what_a_teacher_thought_is_not_read(place: Path) -> None:
    one = adaptation(place)
    one.run(1)
    shutil.rmtree(place / "run" / "adapted")
    frame = table.read(place / "q.parquet")
    table.write(place / "lied.csv", frame.assign(score_1=-1e6, score_2=frame["score_1"]))
    two = adaptation(place, "lied.csv")
    two.run(1)
    for a, b in zip(weights(one), weights(two), strict=True):
        assert torch.equal(a, b)


def test_the_model_stays_and_no_reward_is_in_a_batch(place: Path) -> None:
    made = adaptation(place)
    before = {k: v.clone() for k, v in made.loaded.agent.model.state_dict().items()}
    made.run(2)
    assert all(torch.equal(before[k], v) for k, v in made.loaded.agent.model.state_dict().items())
    assert not made.feed.next()["task_rewards"].any()


def test_the_commands_and_the_evaluation(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(place / "run")
    adapt = ["adapt", run, "--preferences", str(place / "q.parquet"), "--name", "mytask", "--updates", "2"]
    assert main(adapt) == 0
    told = capsys.readouterr()
    assert "Trained: a head and a policy for mytask" in told.out and "40 queries, 40 answered" in told.err
    small = ["--episodes", "6", "--suite-episodes", "1", "--model-episodes", "1"]
    assert main(["evaluate", run, *small]) == BLEMISHED
    assert "task 'mytask' was given by preferences: --as mytask=TASK judges it; left out" in capsys.readouterr().err
    assert main(["evaluate", run, *small, "--as", "mytask=green"]) == 0
    rows = read_rows(place / "run" / "evaluation.parquet")
    rows = rows[(rows["policy"] == "learned") & (rows["step"] == rows["step"].max())]
    mine, green = (rows[rows["task"] == task].reset_index(drop=True) for task in ("mytask", "green"))
    assert len(mine) == len(green) > 0
    for column in ("suite", "theta_id", "episode_seed", "optimal_return"):
        pd.testing.assert_series_equal(mine[column], green[column])
    assert (mine["return"] <= mine["length"]).all() and mine["optimal_return"].notna().all()
    assert main(["compare", str(place)]) == 0
    assert "mytask" in capsys.readouterr().out
    capsys.readouterr()
    assert "unknown task 'gren'; did you mean 'green'?" in refused(["evaluate", run, "--as", "mytask=gren"], capsys)
    assert "must have the form NAME=TASK" in refused(["evaluate", run, "--as", "mytask"], capsys)
    misspelt = ["evaluate", run, "--as", "mytusk=green"]
    assert "unknown task given by preferences: 'mytusk'; did you mean 'mytask'?" in refused(misspelt, capsys)
    assert "'red' is a task of the environment" in refused(["evaluate", run, "--as", "red=green"], capsys)


def test_the_command_that_ask_prints_says_where_the_run_lies_if_answer_would_not_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_option(Path("runs/d/seed-1"), "d/seed-1") == ""
    assert run_option(tmp_path / "runs/d/seed-1", "d/seed-1") == ""
    assert run_option(Path("my runs/d/seed-1"), "d/seed-1") == " --run 'my runs/d/seed-1'"


def test_a_judge_of_a_task_that_nobody_has_taught_is_refused() -> None:
    assert judges(("a=green",), ("green", "red"), {"a", "b"}) == {"a": "green"}
    for taught, told in (({"mine"}, r"'a'.*valid: mine"), (set(), "no task was given by preferences here")):
        with pytest.raises(UserError, match=told):
            judges(("a=green",), ("green", "red"), taught)


def test_a_file_answered_by_hand_is_taken_in(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = table.read(place / "open.parquet")
    label = np.where(np.arange(40) < 25, np.arange(40) % 2, np.nan)
    by_hand = table.labelled(frame, label, ["human" if i < 25 else "" for i in range(40)])
    table.write(place / "answers.csv", by_hand)
    file = str(place / "open.parquet")
    assert main(["answer", file, "--from", str(place / "answers.csv")]) == 0
    assert "25 answers from" in capsys.readouterr().out
    learn = ["adapt", str(place / "run"), "--preferences", file, "--updates", "1"]
    assert "15 of 40 queries" in refused(learn, capsys)
    assert main(["answer", file, "--skip-rest"]) == 0
    assert "15 marked as skipped; 40 queries, 40 answered: 25 with a choice, 0 ties, 15 skipped" in (
        capsys.readouterr().out
    )
    assert set(table.read(Path(file))["labeller"]) == {"human"}


def test_teachers_of_the_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["answer", str(place / "open.parquet"), "--run", str(place / "run"), "--task", "green"]
    out = ["--out", str(place / "out.jsonl"), "--seed", "4"]
    for teacher in ("flip:0.3", "noisy:1", "skip:0.1", "equal:0.1", "myopic:0.9"):
        assert main([*base, "--teacher", teacher, *out]) == 0
        frame = table.read(place / "out.jsonl")
        assert set(frame["labeller"]) == {f"teacher:{teacher}"} and '"seed": 4' in frame["teacher"][0]
    assert main([*base, "--teacher", "skip:0.1", *out]) == 0
    frame = table.read(place / "out.jsonl")
    assert (frame["label"].isna() == (frame[["score_1", "score_2"]].max(axis=1) <= _delta(place, 0.1))).all()
    assert "looks at returns" in refused([*base, "--teacher", "skip", "--score", "regret"], capsys)


def _delta(place: Path, share: float) -> float:
    rows = read_rows(place / "run" / "episodes.parquet")
    return float(share * 3 / rows["length"].max() * rows["return_green"].tail(10).mean())


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["adapt", "{run}", "--preferences", "{none}"], "no preference file"),
        (["adapt", "{run}", "--preferences", "{open}"], "none of the 40 queries of {open} is answered yet"),
        (["adapt", "{run}", "--preferences", "{tied}"], "are ties: nothing is better than anything else"),
        (["adapt", "{run}", "--preferences", "{foreign}"], "was asked of run elsewhere, not of gridhazards/"),
        (["adapt", "{run}", "--preferences", "{other}"], "was asked of another run's replay, or edited"),
        (["adapt", "{run}", "--preferences", "{empty}"], "holds no queries"),
        (["adapt", "{run}", "--preferences", "{noise}"], "{noise} cannot be read"),
        (["adapt", "{run}", "--preferences", "{q}", "--name", "green"], "'green' is taken; choose another --name"),
        (["adapt", "{run}", "--preferences", "{q}", "--tasks", "green"], "given by --preferences, or by --tasks"),
        (["adapt", "{run}", "--preferences", "{q}", "--error", "1.5"], "--error"),
        (["answer", "{q}", "--teacher", "oracle"], "a teacher needs --task"),
        (["answer", "{q}", "--teacher", "orcale", "--task", "green", "--run", "{run}"], "unknown teacher 'orcale'"),
        (["answer", "{q}", "--teacher", "oracle", "--task", "gren", "--run", "{run}"], "unknown task 'gren'"),
        (["answer", "{q}", "--teacher", "oracle", "--task", "green"], "tell where it is by --run"),
        (["answer", "{q}", "--from", "{q}", "--teacher", "oracle"], "from a file or from a teacher"),
        (["ask", "{run}", "--out", "{none}.pickle"], "ends in .parquet, .csv or .jsonl"),
        (["ask", "{run}", "--rule", "chance"], "--rule"),
    ],
)
def test_mistakes_are_one_line(
    answered: Path,
    tmp_path: Path,
    argv: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = table.read(answered / "q.parquet")
    kinds = {
        "tied": frame.assign(label=0.5),
        "foreign": frame.assign(run="elsewhere"),
        "other": frame.assign(tick_1=frame["tick_1"].to_numpy()[::-1], slot_1=frame["slot_1"].to_numpy()[::-1]),
    }
    names = {"run": str(answered / "run"), "q": str(answered / "q.parquet"), "open": str(answered / "open.parquet")}
    for name, rows in kinds.items():
        names[name] = str(tmp_path / f"{name}.parquet")
        table.write(Path(names[name]), rows)
    for name, content in (("empty", ""), ("noise", "PAR1 is no table PAR1")):
        names[name] = str(tmp_path / (f"{name}.csv" if name == "empty" else f"{name}.parquet"))
        Path(names[name]).write_text(content)
    names["none"] = str(tmp_path / "none.parquet")
    monkeypatch.chdir(tmp_path)
    assert told.format(**names) in refused([part.format(**names) for part in argv], capsys)
    assert not (answered / "run" / "adapted").exists()


def test_a_segment_s_length_is_asked_for(answered: Path) -> None:
    frame, replay = table.read(answered / "open.parquet"), load_run(answered / "run", note).replay(note)
    assert set(frame["length_1"]) | set(frame["length_2"]) <= {1, 2, 3}
    assert candidates(replay, 3).n > 40
    assert (answered / "open.html").is_file()
