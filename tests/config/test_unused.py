"""Settings that the chosen sampler does not use are told by name, and refused where no run of several uses them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.spaces import finite_space
from waker.cli import main
from waker.config.presets import preset
from waker.config.schema import Config
from waker.config.unused import refuse_unused, told_unused, unused
from waker.curriculum import CurriculumConfig
from waker.curriculum.kit.world import small_box
from waker.errors import UserError

STUDIES = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


def of(sampler: str, settings: dict[str, Any] | None = None, **shared: Any) -> Config:
    return Config(curriculum=CurriculumConfig(sampler=sampler, settings=settings or {}, **shared))


@pytest.mark.parametrize(
    ("config", "idle"),
    [
        (of("dr", temperature=0.5), {"curriculum.temperature"}),
        (of("dr", dr_share=0.5, top_k=3), {"curriculum.dr_share", "curriculum.top_k"}),
        (of("waker-m", temperature=0.5, staleness=0.5), set()),
        (of("waker-m", temperature=0.5, priority="rank"), {"curriculum.temperature"}),
        (of("waker-m", rank_temperature=0.5), {"curriculum.rank_temperature"}),
        (of("waker-m", reduction_rate=0.5), {"curriculum.reduction_rate"}),
        (of("waker-r", reduction_rate=0.5), set()),
        (of("waker-m", error_decay=0.5, memory_updates=3.0), {"curriculum.error_decay"}),
        (of("waker-m", {"bandwidth": 0.2}), {"curriculum.waker-m.bandwidth"}),
        (of("plr", dr_share=0.5), {"curriculum.dr_share"}),
        (of("plr", {"beta": 0.5, "capacity": 9}), {"curriculum.plr.capacity"}),
        (of("plr", {"max_mc_decay": 0.5}), {"curriculum.plr.max_mc_decay"}),
        (of("plr", {"max_mc_decay": 0.5, "score": "max-mc"}), set()),
        (of("plr", {"alpha": 0.5, "credit": "imagined"}), {"curriculum.plr.alpha"}),
        (of("cenie", {"score": "l1", "window": 9}), {"curriculum.cenie.score"}),
        (of("sfl-int", {"solved": 0.5}), {"curriculum.sfl-int.solved"}),
        (of("sfl", {"solved": 0.5}), set()),
        (of("hardest-oracle", dr_share=0.5), {"curriculum.dr_share"}),
        (of("regret-oracle", oracle_error="x"), {"curriculum.oracle_error"}),
    ],
)  # fmt: skip
def test_what_is_told_on_a_finite_space(config: Config, idle: set[str]) -> None:
    assert unused(config, finite_space()).keys() == idle
    assert len(told_unused(config, finite_space())) == len(idle)


def test_a_box_has_uses_of_its_own() -> None:
    kernel = of("waker-m", {"bandwidth": 0.2}, staleness=0.5)
    assert unused(kernel, small_box()).keys() == {"curriculum.staleness"}
    assert unused(kernel) == {}  # each has a use on one kind of space
    assert unused(of("accel", {"parents": "lowest-regret"}), small_box()).keys() == {"curriculum.accel.parents"}


def test_what_the_preset_sets_is_nobody_s_mistake() -> None:
    laptop = preset("laptop").with_(sampler="dr")
    assert unused(laptop, finite_space()) == {}
    assert unused(laptop.with_(**{"curriculum.reduction_interval": 7}), finite_space()) == {
        "curriculum.reduction_interval": 7
    }


def test_a_run_says_it_and_is_made_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "--preset", "tiny", "--sampler", "dr", "--curriculum.temperature", "0.5", "--runs", str(tmp_path)]
    said = "curriculum.temperature = 0.5 changes nothing here: sampler 'dr' does not use it"
    assert main(argv) == 0
    assert said in " ".join(capsys.readouterr().err.split())
    run = tmp_path / "gridhazards" / "dr" / "plan2explore" / "seed-0"
    assert main(["train", "--config", str(run), "--runs", str(tmp_path)]) == 0  # an old folder still loads


def test_a_study_refuses_what_none_of_its_runs_uses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "study.yaml"
    study = {
        "preset": "tiny",
        "domains": ["GridHazards"],
        "seeds": 0,
        "samplers": {"dr": {"curriculum.temperature": 2.0}},
    }
    path.write_text(yaml.safe_dump(study))
    assert main(["sweep", str(path), "--dry"]) == 2
    assert (
        "curriculum.temperature is set for dr, and that sampler does not use it beside the other settings: leave it out"
        in capsys.readouterr().err
    )
    study |= {"samplers": ["dr", "waker-m"], "settings": {"curriculum.temperature": 2.0}}
    path.write_text(yaml.safe_dump(study))
    assert main(["sweep", str(path), "--dry"]) == 0  # shared, and waker-m uses it


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_our_studies_have_none(study: Path, tmp_path: Path) -> None:
    assert main(["sweep", str(study), "--dry", "--runs", str(tmp_path)]) == 0


def test_a_demonstration_refuses_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--samplers", "dr", "gradual-expansion", "--runs", str(tmp_path)]
    assert main(["quickstart", *words, "--curriculum.temperature", "2"]) == 2
    assert "curriculum.temperature is set, and none of dr, gradual-expansion uses it" in capsys.readouterr().err


def test_one_of_several_is_enough() -> None:
    refuse_unused([of("dr", temperature=0.5), of("waker-m", temperature=0.5)])
    with pytest.raises(UserError, match="none of dr, plr uses it"):
        refuse_unused([of("dr", temperature=0.5), of("plr", temperature=0.5)])


def test_settings_of_others_may_be_read_at_any_time(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def make(space, config, rng, samples_per_update):\n    raise AssertionError('not to be called')\n")
    assert unused(dataclasses.replace(of("dr"), curriculum=CurriculumConfig(f"{file}:make", temperature=2.0))) == {}
