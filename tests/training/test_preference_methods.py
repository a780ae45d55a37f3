"""Methods that make a policy of answers without a critic: resumed bit for bit, recorded, refused, asked, measured."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.tiny import RUN, refused
from waker.agent.contrastive_policy import ContrastiveSettings
from waker.agent.head_fit import CHECK, HeadSettings
from waker.agent.rest_policy import RestSettings
from waker.agent.self_policy import SelfSettings
from waker.cli import main
from waker.preferences import table
from waker.preferences.imagined import file_of, imagined_of, read_imagined
from waker.preferences.segments import ended, shared_starts, shown
from waker.storage.files import sha256
from waker.storage.sealed import read_yaml
from waker.storage.tables import read_rows
from waker.terminal.progress import Progress
from waker.terminal.signals import Interrupted
from waker.training.adapt_direct import DirectAdaptation
from waker.training.adapt_preferences import lesson, load_taught
from waker.training.asking import answer
from waker.training.loading import load_run
from waker.training.loop import Outcome
from waker.training.preference_methods import find_method, method_names

HEAD = HeadSettings(patience=1, most=2 * CHECK)
GROWING: dict[str, Any] = {
    "clone": 2,
    "batch": 4,
    "rounds": 2,
    "starts": 4,
    "candidates": 3,
    "horizon": 3,
    "margin": 0.0,
}
SETTINGS: dict[str, Any] = {
    "cpl": ContrastiveSettings(clone=2, batch=8, updates=6, draws=2),
    "rest": RestSettings(**GROWING, steps=2, levels=(50.0, 60.0)),
    "self": SelfSettings(**GROWING, steps=4),
}
METHODS = sorted(SETTINGS)


@pytest.fixture(scope="module")
def answered(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, with answered queries about its replay and about what its model imagines beside it."""
    place = tmp_path_factory.mktemp("answered")
    shutil.copytree(finished / RUN, place / "run")
    run, ask = str(place / "run"), ["--queries", "24", "--length", "3", "--out"]
    teach = ["--teacher", "oracle", "--task", "green", "--run", run]
    for name, more in (("q", []), ("dreamt", ["--source", "imagined"])):
        assert main(["ask", run, *ask, str(place / f"{name}.parquet"), *more]) == 0
        assert main(["answer", str(place / f"{name}.parquet"), *teach]) == 0
    return place


@pytest.fixture
def place(answered: Path, tmp_path: Path) -> Path:
    """A copy of the test's own."""
    shutil.copytree(answered, tmp_path / "place")
    return tmp_path / "place"


def note(text: str) -> None:
    raise AssertionError(text)


def adaptation(place: Path, method: str, file: str = "q.parquet") -> DirectAdaptation:
    loaded, progress = load_run(place / "run", note), Progress("test", 8, quiet=True)
    taught = lesson(loaded, "mytask", place / file, HEAD, note, method, SETTINGS[method])
    made = find_method(method).adaptation(loaded, taught, progress)
    assert isinstance(made, DirectAdaptation)
    return made


def weights(made: DirectAdaptation) -> list[torch.Tensor]:
    policy = made.adapter
    tensors = [*policy.policies.actor.parameters(), *policy.reference.actor.parameters(), *policy.optimizer.m]
    return [t.detach().clone() for t in tensors]


def same(one: DirectAdaptation, two: DirectAdaptation) -> None:
    for a, b in zip(weights(one), weights(two), strict=True):
        assert torch.equal(a, b)


def test_the_methods_are_known_by_name() -> None:
    assert method_names() == ("cpl", "features", "head", "rest", "self")


@pytest.mark.parametrize("method", METHODS)
def test_every_update_moves_the_policy_and_leaves_the_model(place: Path, method: str) -> None:
    made = adaptation(place, method)
    before = {k: v.clone() for k, v in made.loaded.agent.model.state_dict().items()}
    fresh = weights(made)
    made.run(3)
    cloned = weights(made)
    assert any(not torch.equal(a, b) for a, b in zip(fresh, cloned, strict=True))
    again = adaptation(place, method)
    again.run(SETTINGS[method].total)
    assert any(not torch.equal(a, b) for a, b in zip(cloned, weights(again), strict=True))
    assert all(torch.equal(before[k], v) for k, v in again.loaded.agent.model.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop", [1, 5])
def test_stopped_it_goes_on_bit_for_bit(place: Path, method: str, stop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the replay is cloned, and in the middle of a round, whose candidates are grown again."""
    whole = adaptation(place, method)
    whole.run(8)
    shutil.rmtree(place / "run" / "adapted")
    made = adaptation(place, method)
    update = type(made.adapter).update

    def interrupted(self: Any, next_batch: Any) -> Any:
        found = update(self, next_batch)
        if self.updates == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    monkeypatch.setattr(type(made.adapter), "update", interrupted)
    with pytest.raises(Interrupted):
        made.run(8)
    monkeypatch.undo()
    second = adaptation(place, method)
    assert second.run(8) is Outcome.FINISHED
    same(whole, second)
    assert adaptation(place, method).run(8) is Outcome.SKIPPED


@pytest.mark.parametrize("method", METHODS)
def test_killed_it_goes_on_bit_for_bit(place: Path, method: str) -> None:
    """SIGKILL in a process of its own, three updates behind the last checkpoint."""
    whole = adaptation(place, method)
    whole.run(8)
    shutil.rmtree(place / "run" / "adapted")
    adaptation(place, method).run(3)
    child = os.fork()
    if not child:  # pragma: no cover — in the child
        made = adaptation(place, method)
        update = made.adapter.update

        def killed(next_batch: Any) -> Any:
            if made.updates == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return update(next_batch)

        made.adapter.update = killed  # type: ignore[method-assign]
        made.run(8)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    second = adaptation(place, method)
    second.run(8)
    same(whole, second)


@pytest.mark.parametrize("method", METHODS)
def test_the_record_holds_checksum_and_settings_and_the_policy_comes_back(place: Path, method: str) -> None:
    made = adaptation(place, method)
    made.run(4)
    folder = place / "run" / "adapted" / "mytask"
    record = read_yaml(folder / "tasks.yaml")
    about = record["preferences"]
    assert about["sha256"] == sha256(place / "q.parquet") and about["method"] == method
    assert about["settings"]["clone"] == 2 and ("head" in about) == (method != "cpl")
    found = load_taught(load_run(place / "run", note), folder, record, note)
    assert found is not None and found.updates == 4 and found.player().names == ("mytask",)
    for a, b in zip(found.policies.actor.parameters(), made.adapter.policies.actor.parameters(), strict=True):
        assert torch.equal(a, b)
    frame = table.read(place / "q.parquet")
    table.write(place / "q.parquet", frame.assign(label=1.0 - frame["label"]))
    told = list[str]()
    again = adaptation(place, method)
    again.progress.note = told.append  # type: ignore[method-assign]
    assert again.run(4) is Outcome.FINISHED
    assert any("the answers or how they are learned from has changed: starting anew" in text for text in told)


def test_the_commands_and_the_evaluation(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, q = str(place / "run"), str(place / "q.parquet")
    learn = ["adapt", run, "--preferences", q, "--method", "cpl", "--name", "mine", "--method.cpl.clone", "1"]
    assert main([*learn, "--method.cpl.updates", "2", "--method.cpl.alpha", "0.2"]) == 0
    told = capsys.readouterr()
    assert "Trained: a policy for mine" in told.out
    record = read_yaml(place / "run" / "adapted" / "mine" / "tasks.yaml")["preferences"]
    assert record["settings"]["alpha"] == 0.2 and record["settings"]["updates"] == 2
    assert main([*learn, "--method.cpl.updates", "2", "--method.cpl.alpha", "0.2"]) == 0
    assert "Trained before" in capsys.readouterr().out
    small = ["--episodes", "6", "--suite-episodes", "1", "--model-episodes", "1"]
    assert main(["evaluate", run, *small, "--as", "mine=green"]) == 0
    rows = read_rows(place / "run" / "evaluation.parquet")
    mine, green = (rows[(rows["policy"] == "learned") & (rows["task"] == task)] for task in ("mine", "green"))
    assert len(mine) > 0 and set(mine["theta_id"]) <= set(green["theta_id"]) and mine["optimal_return"].notna().all()
    assert main(["compare", str(place)]) == 0
    assert "mine" in capsys.readouterr().out
    asked = ["ask", run, "--queries", "3", "--length", "3", "--out", str(place / "n.csv"), "--no-page"]
    assert main([*asked, "--rule", "policy"]) == 0
    assert set(table.read(place / "n.csv")["rule"]) == {"policy of mine"}
    capsys.readouterr()
    assert "only a head that was fitted to answers disagrees" in refused([*asked, "--rule", "disagreement"], capsys)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--method", "clp"], "unknown method 'clp'; did you mean 'cpl'? (valid: cpl, features, head, rest, self)"),
        (["--method", "cpl", "--method.cpl.alpha", "0"], "method.cpl.alpha = 0 must be above 0"),
        (["--method", "cpl", "--method.cpl.alhpa", "1"], "alhpa"),
        (["--method", "cpl", "--method.rest.steps", "3"], "add --method rest"),
        (["--method", "head", "--method.head.steps", "3"], "head has no settings of its own"),
        (["--method", "rest", "--method.rest.levels", "120"], "levels"),
        (["--method", "rest", "--method.rest.threshold", "global"], "shares up to 1"),
        (["--method", "features"], "needs named features: add --features"),
        (["--method", "cpl", "--features", "f.py:f"], "--features are of method features, not of cpl"),
        (["--method", "rest", "--compile", "graphs"], "updates of method rest are not compiled"),
    ],
)
def test_mistakes_are_one_line(answered: Path, argv: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    run, q = str(answered / "run"), str(answered / "q.parquet")
    assert told in refused(["adapt", run, "--preferences", q, *argv], capsys)
    assert not (answered / "run" / "adapted").exists()


def test_a_method_without_answers_is_refused(answered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "add --preferences FILE" in refused(["adapt", str(answered / "run"), "--method", "cpl"], capsys)


# What the model imagines ----------------------------------------------------------------------------------------------


def test_dreams_begin_where_the_replay_was_and_share_their_start(answered: Path) -> None:
    frame = table.read(answered / "dreamt.parquet")
    assert set(frame["source"]) == {"imagined:dreamt-imagined.npz"} and set(frame["rule"]) == {"uniform"}
    loaded, imagined = load_run(answered / "run", note), imagined_of(answered / "dreamt.parquet", frame)
    assert imagined is not None
    replay, pairs, real = imagined.replay, table.pairs_of(frame), loaded.replay(note)
    context = loaded.config.train.length
    assert shared_starts(replay, pairs, context).all()
    assert not shared_starts(real, table.pairs_of(table.read(answered / "q.parquet")), context).all()
    names = [key.name for key in loaded.family.spec.observation]
    for segments in pairs:
        origin = imagined.origin.at(segments.slot)
        for n in range(segments.n):
            dreamt, truth = shown(replay, names, segments, n), shown(real, names, origin, n)
            for name in names:
                np.testing.assert_array_equal(dreamt[name][0], truth[name][0])
        assert (segments.length[~ended(replay, segments)] == 3).all()
    taken = [replay.arrays["action"][of.slot, of.tick[0] + 1 :] for of in pairs]
    assert not np.array_equal(*taken)
    assert file_of(answered / "dreamt.parquet").is_file() and (answered / "dreamt.html").is_file()


def test_a_teacher_judges_dreams_by_the_tables_and_skips_what_cannot_be(place: Path) -> None:
    """A dream that repeats the replay, record for record, is worth what its steps are expected to earn."""
    loaded, frame = load_run(place / "run", note), table.read(place / "dreamt.parquet")
    imagined, real = read_imagined(place / "dreamt-imagined.npz"), loaded.replay(note)
    assert (frame["label"].isna() == (frame["score_1"].isna() | frame["score_2"].isna())).all()
    assert frame["label"].isna().any()  # a model as young as this one imagines what cannot be
    tick = int(frame["tick_1"][0])
    for n, (slot, at, _) in enumerate(zip(*(part.tolist() for part in imagined.origin), strict=True)):
        for name, array in imagined.records.items():
            array[n, tick : tick + 2] = real.arrays[name][slot, at : at + 2]
    one = frame.assign(length_1=1, length_2=1)
    found = answer(loaded, real, one, "oracle", "return", "green", 0, imagined)
    slip = np.array([loaded.family.space.points[i][2] for i in imagined.records["theta_id"][frame["slot_1"], tick]])
    earned = imagined.records["task_rewards"][frame["slot_1"], tick + 1, 0]
    assert found["label"].notna().all() and (slip == 0).any()
    np.testing.assert_allclose(found["score_1"][slip == 0], earned[slip == 0])
    by_regret = answer(loaded, real, one, "oracle", "regret", "green", 0, imagined)
    assert (by_regret["score_1"] <= 1e-12).all()


@pytest.mark.parametrize("method", METHODS)
def test_dreams_are_learned_from_and_pairs_that_share_a_start_by_dpo(place: Path, method: str) -> None:
    frame = table.read(place / "dreamt.parquet")
    label = np.arange(len(frame)) % 2
    table.write(place / "dreamt.parquet", table.labelled(frame, label, "human"))
    made = adaptation(place, method, "dreamt.parquet")
    made.run(4)
    if method == "cpl":
        assert made.adapter.shared.all()  # type: ignore[attr-defined]
        assert not adaptation(place, method).adapter.shared.all()  # type: ignore[attr-defined]


def test_dreams_of_a_policy_and_those_that_a_head_disputes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adaptation(place, "self").run(3)
    asked = ["ask", str(place / "run"), "--queries", "4", "--length", "3", "--source", "imagined", "--no-page"]
    for rule in ("policy", "disagreement"):
        out = place / f"{rule}.csv"
        assert main([*asked, "--rule", rule, "--out", str(out)]) == 0
        frame = table.read(out)
        assert len(frame) == 4 and set(frame["rule"]) == {f"{rule} of mytask"}
        table.check_of_run(out, frame, frame["run"][0], read_imagined(file_of(out)).replay)
    (place / "policy-imagined.npz").unlink()
    capsys.readouterr()
    answered_ = ["answer", str(place / "policy.csv"), "--teacher", "oracle", "--task", "green", "--run"]
    assert "policy-imagined.npz is not there" in refused([*answered_, str(place / "run")], capsys)
