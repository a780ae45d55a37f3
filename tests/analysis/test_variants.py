"""Runs told apart by their settings: a default is a value like any other, also of plug-ins and of older runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from waker.analysis.data import RunData
from waker.analysis.variants import by_settings
from waker.config.presets import preset
from waker.config.saved import plain
from waker.errors import UserError

EMPTY = pd.DataFrame()


def run(sampler: str = "waker-m", own: dict[str, Any] | None = None, **changes: Any) -> RunData:
    """A run without rows, with the settings of a preset and some changes."""
    settings = plain(preset("tiny").with_(sampler=sampler, **changes))
    record = {"config": settings} | ({"own": own} if own else {})
    return RunData(Path("r"), "d", sampler, "e", 0, record, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY)


def labels(keys: list[str], *runs: RunData) -> list[str]:
    return [named.sampler for named in by_settings(runs, keys)]


def test_a_default_is_shown_like_any_other_value() -> None:
    found = labels(["curriculum.dr_share"], run(), run(**{"curriculum.dr_share": 0.5}))
    assert found == ["waker-m [dr_share=0.2]", "waker-m [dr_share=0.5]"]


def test_a_setting_that_an_older_run_lacks_has_its_default() -> None:
    old, new = run(), run(**{"curriculum.dr_share": 0.5})
    del old.config["config"]["curriculum"]["dr_share"]
    assert labels(["curriculum.dr_share"], old, new)[0] == "waker-m [dr_share=0.2]"


def test_a_sampler_s_own_default_is_shown_and_others_have_none() -> None:
    usual, other = run("plr"), run("plr", **{"curriculum.settings": {"beta": 0.5}})
    found = labels(["curriculum.plr.beta"], usual, other, run("dr"))
    assert found == ["plr [beta=0.3]", "plr [beta=0.5]", "dr"]


def test_an_explorer_s_own_default_is_shown() -> None:
    usual, other = run(explorer="rnd"), run(explorer="rnd", **{"explorer.settings": {"size": 16}})
    found = labels(["explorer.rnd.size"], usual, other)
    assert found[0].startswith("waker-m [size=") and found[1] == "waker-m [size=16]"
    assert found[0] != found[1]


def test_what_a_run_recorded_goes_before_today_s_defaults() -> None:
    recorded = run("plr", own={"curriculum": {"beta": 7.0}, "env_kwargs": {"wind": 0.3}})
    assert labels(["curriculum.plr.beta", "env_kwargs.wind"], recorded) == ["plr [beta=7.0, wind=0.3]"]
    assert labels(["curriculum.plr.beta"], run("plr"), recorded)[1] == "plr [beta=7.0]"


def test_a_part_that_is_not_here_is_compared_by_what_its_runs_recorded() -> None:
    gone = run("/nowhere/ucb.py:ucb", own={"curriculum": {"c": 1.0}})
    bare = run("from-a-package")
    assert labels(["curriculum.ucb.c"], gone, bare) == ["/nowhere/ucb.py:ucb [c=1.0]", "from-a-package"]


@pytest.mark.parametrize("key", ["curriculum.dr-share", "curriculum.dr_share"])
def test_names_may_be_those_of_the_command_line(key: str) -> None:
    assert labels([key], run()) == [f"waker-m [{key.split('.')[1]}=0.2]"]
    assert labels(["steps"], run(steps=300)) == ["waker-m [steps=300]"]


def test_names_that_end_alike_keep_what_tells_them_apart() -> None:
    (found,) = labels(["model.optimizer.lr", "explorer.optimizer.lr", "train.batch"], run())
    assert re.fullmatch(r"waker-m \[model.optimizer.lr=\S+, explorer.optimizer.lr=\S+, batch=\d+\]", found)


def test_an_unknown_setting_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'curriculum.dr_shore'; did you mean 'curriculum.dr_share'"):
        by_settings([run()], ["curriculum.dr_shore"])
    with pytest.raises(UserError, match="unknown setting"):
        by_settings([run("dr")], ["curriculum.plr.beta"])


def test_a_run_without_settings_keeps_its_name() -> None:
    bare = RunData(Path("r"), "d", "ucb", "e", 0, {}, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY)
    assert labels(["curriculum.dr_share"], bare, run())[0] == "ucb"


def test_the_seed_tells_no_variants_apart() -> None:
    with pytest.raises(UserError, match="not --by seed"):
        by_settings([run()], ["seed"])
    assert labels(["train.batch", "train.batch"], run())[0].count("batch=") == 1
