"""The answers of the study, from numbers whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import study
from experiments.study import BASELINE, ERROR, PRIMARY, answers
from experiments.study_figure import figure
from tests.helpers.rows import numbers
from tests.helpers.synthetic import write_run
from waker.analysis.conclusion import conclusion
from waker.analysis.numbers_file import read_numbers, write_table
from waker.analysis.paired import paired_differences, pairs
from waker.names import ALL, DR_SUITE

SEEDS = range(100, 104)
SUITES = ("fresh", "denser", "emptier", "oblong")
DR = [10.0, 11.0, 12.0, 13.0]
OURS = [7.0, 9.0, 10.0, 11.0]  # 3, 2, 2, 2 less than DR


def arm(values: dict[str, list[float]], quantity: str) -> pd.DataFrame:
    return numbers({s: {ALL: v} for s, v in values.items()}, quantity, seeds=list(SEEDS))


def written(folder: Path, part: str, *rows: pd.DataFrame) -> None:
    table = pd.concat(rows).assign(run="r", step="20000", commit="c")
    write_table(folder / f"{part}-numbers.csv", table)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    primary = {BASELINE: DR, "waker-m": OURS, "error-oracle": DR[::-1]}
    same = {name: [1.0, 2.0, 3.0, 4.0] for name in primary}
    quantities = [PRIMARY, "planned_mean_regret", *(f"planned_regret_{suite}" for suite in SUITES)]
    rows = [arm(primary if q == PRIMARY else same, q) for q in quantities]
    rows += [arm({BASELINE: [0.5] * 4, "waker-m": [0.2, 0.3, 0.2, 0.3]}, q) for q in ("hard_share", "noisy_share")]
    written(tmp_path, "main", *rows)
    written(tmp_path, "saved-30k", arm({BASELINE: OURS}, PRIMARY))
    written(tmp_path, "explorer", arm({BASELINE: [v + 1 for v in DR]}, PRIMARY))
    points = [(s, seed, t, 0.1 * seed, 10.0 * seed) for s in primary for seed in SEEDS for t in (10_000, 20_000)]
    columns = ["sampler", "seed", "step", ERROR, PRIMARY]
    write_table(tmp_path / "checkpoints.csv", pd.DataFrame(points, columns=columns))
    return tmp_path


def test_each_question_has_its_answer(folder: Path) -> None:
    found = answers(folder).set_index(["question", "compared", "quantity"])
    assert sorted(set(found.index.get_level_values(0))) == ["Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7"]
    robust = found.loc["Q1", "waker-m", PRIMARY]
    assert robust["value"] == pytest.approx(-2.25)
    # t = -2.25 / (0.5 / 2) = -9, three degrees of freedom; Holm doubles the smaller of two.
    assert robust["p_t"] == pytest.approx(0.0028958, rel=1e-4)
    assert (robust["p_t_holm"], robust["tests"]) == (pytest.approx(2 * robust["p_t"]), 2)
    assert robust["p_flips"] == 2 / 2**4
    assert found.loc["Q3", "waker-m", "noisy_share"]["value"] == pytest.approx(0.25)
    assert found.loc["Q4", ERROR, "spearman, at 10,000 steps"]["value"] == pytest.approx(1.0)
    assert found.loc["Q5", "dr, random actions", PRIMARY]["value"] == pytest.approx(1.0)
    assert found.loc["Q7", "dr, 20,000 steps", PRIMARY]["value"] == pytest.approx(2.25)
    assert found.loc["Q7", "dr, 30,000 steps", PRIMARY]["value"] == 0.0
    assert found.loc["Q6"]["tests"].eq(8).all()
    # At 20,000 steps dr is worse in every seed; with 30,000 it is level in all.
    assert found.loc["Q7", "dr's steps ÷ waker-m's", f"{PRIMARY}, ratio of data"]["value"] == 1.5


def plans(worst: dict[str, list[float]], task: str = "green") -> pd.DataFrame:
    """Of each run one θ, whose plan misses so much of an optimum of 9."""
    rows = [
        (name, seed, DR_SUITE, task, 9.0, 9.0 - v) for name in worst for seed, v in zip(SEEDS, worst[name], strict=True)
    ]
    return pd.DataFrame(rows, columns=["sampler", "seed", "suite", "task", "optimal_return", "return"])


def test_the_primary_metric_is_that_of_all_episodes_and_former_values_stand_beside_it(folder: Path) -> None:
    zero = {name: [0.0] * 4 for name in (BASELINE, "waker-m", "error-oracle")}
    now, before = zero | {"waker-m": [1.0] * 4}, zero | {"waker-m": [2.0] * 4}
    write_table(folder / "main-plans.csv", plans(now))
    write_table(folder / "main-plans-ends-given.csv", plans(before))
    study.exact(folder, "main")
    found = answers(folder).set_index(["question", "compared", "quantity"])["value"]
    for suffix, difference in (("", 1.0), (", ends given", 2.0), (", sampled", -2.25)):
        assert found.loc["Q1", "waker-m", PRIMARY + suffix] == pytest.approx(difference)
    # The worst error grows with the seed alone; the regret at the end is that of the sampler alone.
    assert found.loc["Q4", ERROR, "spearman, at 10,000 steps"] == pytest.approx(1.0)
    assert found.loc["Q4", ERROR, "spearman, at 20,000 steps"] == pytest.approx(0.0)
    assert found.loc["Q4", ERROR, "spearman, at 20,000 steps, sampled"] == pytest.approx(1.0)
    # The two kinds of regret are never pooled, and the figure says which the early ones are.
    assert "spearman, all" not in found.index.get_level_values(2)
    assert figure(answers(folder), folder).axes[2].get_xlabel().endswith("as sampled, ends given)")


def test_exact_values_are_of_every_task_and_done_again_they_are_the_same(folder: Path) -> None:
    names = (BASELINE, "waker-m", "error-oracle")
    green, red = ({name: [value] * 4 for name in names} for value in (1.0, 3.0))
    both = pd.concat([plans(green), plans(red, "red")])
    of_green = arm({name: [0.5] * 4 for name in names}, PRIMARY).assign(task="green")
    parts = [arm({name: [v] * 4 for name in names}, f"{PRIMARY}_{part}") for part, v in (("low", 2.0), ("high", 20.0))]
    share = arm({name: [0.5] * 4 for name in names}, "planned_fraction_of_optimum")
    written(folder, "main", read_numbers(folder / "main-numbers.csv")[list(of_green)], of_green, *parts, share)
    write_table(folder / "main-plans.csv", both)
    study.exact(folder, "main")
    once = (folder / "main-numbers.csv").read_bytes()
    study.exact(folder, "main")
    assert (folder / "main-numbers.csv").read_bytes() == once
    found = (
        read_numbers(folder / "main-numbers.csv")
        .set_index(["sampler", "seed", "task", "quantity"])["value"]
        .sort_index()
    )
    of = found.loc["dr", 100]
    assert (of[ALL, PRIMARY], of["green", PRIMARY], of[ALL, "planned_mean_regret"]) == (3.0, 1.0, 2.0)
    assert of[ALL, f"{PRIMARY}_low"] == of[ALL, f"{PRIMARY}_high"] == 3.0
    assert of[ALL, "planned_fraction_of_optimum"] == pytest.approx((8 / 9 + 6 / 9) / 2)
    assert (of["green", f"{PRIMARY}, sampled"], of[ALL, f"{PRIMARY}_high, sampled"]) == (0.5, 20.0)


@pytest.mark.parametrize(("name", "regret", "difference"), [("study", 15.4, -4.2), ("study_keys", 9.4, -2.6)])
def test_the_committed_numbers_have_the_headline_under_its_plain_name(
    name: str, regret: float, difference: float
) -> None:
    folder = study.RESULTS.with_name(name)
    rows = read_numbers(folder / "main-numbers.csv")
    tests = paired_differences(pairs(rows[rows["task"] == ALL], BASELINE).rows, [PRIMARY]).set_index("sampler")
    assert study.values(rows, BASELINE, PRIMARY).mean() == pytest.approx(regret, abs=0.05)
    assert tests["difference"]["waker-m"] == pytest.approx(difference, abs=0.05)
    told = conclusion(tests.reset_index(), BASELINE)
    assert "): waker-m has lower worst-θ regret" in told  # before the oracles, whatever their differences


def test_numbers_are_collected_from_run_folders(tmp_path: Path) -> None:
    for sampler in (BASELINE, "waker-m", "error-oracle"):
        for seed in (0, 1):
            write_run(tmp_path / "runs", sampler, seed)
    study.collect("main", tmp_path / "runs", tmp_path, at=(20_000,))  # of these runs the plans were made at the end
    points = pd.read_csv(tmp_path / "checkpoints.csv")
    assert points.groupby(["sampler", "seed"])["step"].agg(list).tolist() == [[20_000]] * 6
    found = answers(tmp_path).set_index(["question", "compared", "quantity"])
    last = points[points["step"] == 20_000].pivot(index="seed", columns="sampler", values=PRIMARY)
    assert found.loc["Q1", "waker-m", PRIMARY]["value"] == pytest.approx((last["waker-m"] - last[BASELINE]).mean())
    assert found.loc["Q2", "waker-m", "estimate_rank"]["n"] == 2


def test_what_was_not_run_is_not_answered(folder: Path) -> None:
    for part in ("saved-30k", "explorer"):
        (folder / f"{part}-numbers.csv").unlink()
    assert set(answers(folder)["question"]) == {"Q1", "Q2", "Q3", "Q4", "Q6"}


def test_the_figure_shows_every_pair(folder: Path) -> None:
    robust, _, bound, _ = figure(answers(folder), folder).axes
    drawn = [
        np.asarray(points.get_offsets())[:, 0].tolist() for points in robust.collections if points.get_offsets().size
    ]
    assert [-3.0, -2.0, -2.0, -2.0] in drawn
    assert [t.get_text() for t in bound.get_legend().get_texts()] == [BASELINE, "waker-m", "error-oracle"]


def test_a_ratio_of_data_is_a_median_with_an_interval_of_order_statistics() -> None:
    ours = pd.Series(10.0, range(10))
    worse, level = ours + 1, ours.copy()
    found = study.data_ratio(ours, [(20_000, worse), (30_000, worse.where(ours.index > 0, 10.0)), (40_000, level)], "q")
    assert (found["value"], found["low"], found["high"], found["n"]) == (2.0, 2.0, 2.0, 10)
    some = worse.where(ours.index > 3, 9.0)  # four of ten are no worse with 30,000, the others at no budget
    found = study.data_ratio(ours, [(20_000, worse), (30_000, some)], "q")
    assert (found["value"], found["low"], found["high"]) == (np.inf, 1.5, np.inf)
    assert np.isnan(study.data_ratio(ours[:5], [(20_000, worse)], "q")["low"])


@pytest.mark.parametrize("name", ["study", "study_keys"])
def test_committed_answers_are_those_of_the_committed_numbers(name: str) -> None:
    folder = study.RESULTS.with_name(name)
    found = answers(folder).reset_index(drop=True)
    kept = pd.read_csv(folder / "answers.csv")
    pd.testing.assert_frame_equal(found, kept, check_dtype=False, atol=1e-5)


def test_what_is_spent_on_noisy_theta_is_told_third_by_third() -> None:
    """Two equal windows a third; waker-m: 1/4 of 8 and 3/4 of 24 episodes make 20/32 of the last third."""
    shares = {BASELINE: [0.5] * 6, "waker-m": [0.5, 0.5, 0.25, 0.75, 0.25, 0.75]}
    episodes = [8, 8, 16, 16, 8, 24]
    columns = ["sampler", "seed", "begin", "end", "parameter", "share", "episodes"]
    rows = [
        (sampler, seed, 100 * k, 100 * k + 99, "noisy θ", share + 0.01 * seed * (sampler != BASELINE), episodes[k])
        for sampler, of in shares.items()
        for seed in (0, 1)
        for k, share in enumerate(of)
    ]
    other = [(BASELINE, 0, 0, 99, "hard θ", 0.9, 8)]
    found = pd.DataFrame(study.wasted_through_training(pd.DataFrame([*rows, *other], columns=columns)))
    found = found.set_index(["compared", "quantity"])["value"]
    name = "share of episodes on noisy θ"
    assert found["waker-m", f"{name}, first third"] == pytest.approx(0.505)
    assert found["waker-m", f"{name}, second third, paired"] == pytest.approx(0.005)
    assert found["waker-m", f"{name}, last third"] == pytest.approx(20 / 32 + 0.005)
    assert found["waker-m", f"{name}, last third, paired"] == pytest.approx(20 / 32 - 0.5 + 0.005)
    assert found[BASELINE, f"{name}, last third"] == pytest.approx(0.5)
