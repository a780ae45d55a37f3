"""Study files: which runs they name, and what is wrong with the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from waker.cli.settings import parse_settings
from waker.errors import UserError
from waker.sweep.study import read_cells

SMALL = """
preset: tiny
settings: {train.steps: 900}
domains: {GridHazards: , GridCleanUp: {train.steps: 700, env_kwargs: {length: 30}}}
samplers: [dr, waker-m]
seeds: [0-1, 5]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_combination_is_one_run_and_seeds_come_one_after_another(tmp_path: Path) -> None:
    cells = read_cells(written(tmp_path, SMALL))
    assert [(c.seed, c.domain, c.sampler) for c in cells] == [
        (seed, domain, sampler)
        for seed in (0, 1, 5)
        for domain in ("GridHazards", "GridCleanUp")
        for sampler in ("dr", "waker-m")
    ]
    assert {c.explorer for c in cells} == {"plan2explore"}


def test_samplers_may_be_left_out_of_a_domain(tmp_path: Path) -> None:
    cells = read_cells(written(tmp_path, SMALL + "without: {GridCleanUp: [waker-m]}\n"))
    assert [(c.seed, c.domain, c.sampler) for c in cells] == [
        (seed, *run)
        for seed in (0, 1, 5)
        for run in (("GridHazards", "dr"), ("GridHazards", "waker-m"), ("GridCleanUp", "dr"))
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[GridCleanUp]", "without is a mapping from domains to lists of samplers, not ['GridCleanUp']"),
        ("{GridCleanup: [dr]}", "unknown domain 'GridCleanup'; did you mean 'GridCleanUp'?"),
        ("{GridCleanUp: [waker-n]}", "unknown sampler 'waker-n'; did you mean 'waker-m'?"),
        ("{GridCleanUp: waker-m}", "GridCleanUp are several: write GridCleanUp: [waker-m]"),
    ],
)
def test_what_cannot_be_left_out_is_said(tmp_path: Path, given: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        read_cells(written(tmp_path, f"{SMALL}without: {given}\n"))
    assert said in str(error.value)


def test_a_sampler_may_have_settings_of_its_own(tmp_path: Path) -> None:
    text = SMALL.replace("[dr, waker-m]", "{dr: , plr: {curriculum.plr.beta: 0.1, train.steps: 800}}")
    found = {}
    for cell in read_cells(written(tmp_path, text)):
        config = parse_settings(cell.arguments, "train").config
        found[cell.domain, cell.sampler] = (config.curriculum.settings, config.train.steps)
    assert found == {
        ("GridHazards", "dr"): ({}, 900),
        ("GridHazards", "plr"): ({"beta": 0.1}, 800),
        ("GridCleanUp", "dr"): ({}, 700),
        ("GridCleanUp", "plr"): ({"beta": 0.1}, 800),
    }


def test_a_domain_goes_before_the_study_and_a_variant_before_a_domain(tmp_path: Path) -> None:
    text = SMALL + "variants: {plain: , short: {train.steps: 500, model.symlog: false, explorer.units: [7, 9]}}\n"
    cells = read_cells(written(tmp_path, text))
    steps = {(c.variant, c.domain): parse_settings(c.arguments, "train").config.train.steps for c in cells}
    assert steps == {
        ("plain", "GridHazards"): 900,
        ("plain", "GridCleanUp"): 700,
        ("short", "GridHazards"): 500,
        ("short", "GridCleanUp"): 500,
    }
    last = parse_settings(cells[-1].arguments, "train").config
    assert (last.model.symlog, last.explorer.units, last.env_kwargs) == (False, (7, 9), {"length": 30})
    assert (last.seed, last.curriculum.sampler, last.env) == (5, "waker-m", "waker/GridCleanUp-v0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("domains: [GridHazards]\nsamplers: [dr]\n", "a study needs seeds"),
        ("domain: [GridHazards]\n", "unknown key 'domain'; did you mean 'domains'?"),
        ("[1, 2]", "a study is a mapping"),
        (
            "domains: [GridHazards]\nsamplers: dr\nseeds: 0\n",
            "samplers are several: write samplers: [dr]",
        ),
        ("domains: [GridHazards]\nsamplers: [dr, dr]\nseeds: 0\n", "samplers names 'dr' twice"),
        ("domains: [GridHazards]\nsamplers: [dr]\nseeds: many\n", "whole numbers or ranges such as 0-9, not 'many'"),
        ("domains: [GridHazards]\nsamplers: [dr]\nseeds: 5-2\n", "the range of seeds 5-2 is empty"),
        ("domains: [GridHazards]\nsamplers: [dr]\nseeds: [0-3, 2]\n", "seed 2 is named twice"),
        ("domains: {GridHazards: 3}\nsamplers: [dr]\nseeds: 0\n", "domains: GridHazards must be settings"),
        (SMALL.replace("train.steps: 900", "seed: 1"), "settings gives seed: that is chosen by seeds"),
        (SMALL + "variants: {a/b: }\n", "a variant's name is a folder's"),
        (SMALL + "variants: {..: }\n", "a variant's name is a folder's"),
        ("domains: GridCleanUp\nsamplers: [dr]\nseeds: 0\n", "domains are several: write domains: [GridCleanUp]"),
        (SMALL + "explorers: random\n", "explorers are several: write explorers: [random]"),
        (SMALL + "variants: [small, wide]\n", "variants small and wide have the same settings (none)"),
        (SMALL + "preset: grid\n", "line 7: 'preset' is given a second time"),
        (SMALL.replace("steps: 700", "steps: 7, train.steps: 8"), "line 4: 'train.steps' is given a second time"),
        (SMALL.replace("900", "900, train: {steps: 8}"), "settings gives train.steps twice"),
        (SMALL.replace("900", "900, curriculum: {sampler: dr}"), "curriculum.sampler: that is chosen by samplers"),
        (SMALL + "variants: {rows: }\n", "a variant cannot be called 'rows'"),
        ("domains: {GridHazards: {curriculum.sampler: dr}}\nsamplers: [dr]\nseeds: 0\n", "chosen by samplers"),
        (
            SMALL.replace("train.steps: 900", "env_kwargs: {sizes: [3, 4]}"),
            "env_kwargs: sizes must be one value, not [3, 4]",
        ),
        ("samplers: [dr\n", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match="study.yaml") as error:
        read_cells(written(tmp_path, text))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_sections_are_settings_as_dotted_names_are(tmp_path: Path) -> None:
    sections = "train: {steps: 900, task-policies: after}, curriculum: {plr: {beta: 0.1}}, explorer: {units: [7]}"
    text = SMALL.replace("train.steps: 900", sections).replace("waker-m", "plr")
    found = [parse_settings(cell.arguments, "train").config for cell in read_cells(written(tmp_path, text))[:2]]
    assert [(c.train.steps, c.train.task_policies, c.explorer.units) for c in found] == [(900, "after", (7,))] * 2
    assert [c.curriculum.settings for c in found] == [{}, {"beta": 0.1}]


def test_a_folder_is_no_study_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder, and a study is a file"):
        read_cells(tmp_path)


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study file"):
        read_cells(tmp_path / "nothing.yaml")


def test_the_paper_s_own_study_is_well_formed() -> None:
    """Its runs have settings that can be had, those of their domain and sampler."""
    cells = read_cells(Path(__file__).parents[2] / "experiments" / "paper.yaml")
    assert len(cells) == 5 * 6 * 2 * 5 - 2 * 5  # no one θ is the hardest of both of Combined's domains
    some = [c for c in cells if (c.seed, c.explorer) == (0, "random") and c.sampler in ("waker-m", "hardest-oracle")]
    others = [c for c in cells if (c.seed, c.explorer) == (1, "plan2explore") and c.sampler not in ("waker-m", "dr")]
    some += {c.sampler: c for c in others}.values()  # each with one domain
    some += [c for c in cells if (c.seed, c.sampler, c.domain) == (4, "dr", "CleanUp")]
    assert {c.sampler for c in some} == {c.sampler for c in cells}
    settings = [parse_settings(cell.arguments, "train").config for cell in some]
    assert {config.env for config in settings} == {
        f"waker/{name}-v0" for name in ("TerrainWalker", "TerrainHopper", "CleanUp", "CarCleanUp", "Combined")
    }
    assert {config.model.kl_scale for config in settings if "CleanUp" in config.env} == {3.0}
    assert {config.train.prefill for config in settings if config.curriculum.sampler == "hardest-oracle"} == {500}


def test_one_sampler_may_stand_twice_under_names(tmp_path: Path) -> None:
    samplers = "{dr: , plr+low: {curriculum.plr.beta: 0.1}, plr+high: {curriculum.plr.beta: 0.5}}"
    cells = read_cells(written(tmp_path, SMALL.replace("[dr, waker-m]", samplers)))
    configs = {cell.sampler: parse_settings(cell.arguments, "train").config for cell in cells}
    assert {name: (c.curriculum.sampler, c.name, c.curriculum.settings) for name, c in configs.items()} == {
        "dr": ("dr", "", {}),
        "plr+low": ("plr", "low", {"beta": 0.1}),
        "plr+high": ("plr", "high", {"beta": 0.5}),
    }


def test_a_plus_in_a_file_s_name_is_no_label(tmp_path: Path) -> None:
    samplers = '["a+b.py:make", "a+b.py:make+low"]'
    cells = read_cells(written(tmp_path, SMALL.replace("[dr, waker-m]", samplers)))
    words = {cell.sampler: cell.arguments for cell in cells}
    assert words["a+b.py:make"][-8:] == ("--env", "GridCleanUp", "--sampler", "a+b.py:make", *words["a+b.py:make"][-4:])
    assert words["a+b.py:make+low"][-2:] == ("--name", "low")


def test_a_sampler_s_own_setting_is_left_out_of_the_others_runs(tmp_path: Path) -> None:
    text = SMALL.replace("train.steps: 900", "train.steps: 900, curriculum.plr.beta: 0.1")
    cells = read_cells(written(tmp_path, text.replace("waker-m", "plr")))
    found = {c.sampler: parse_settings(c.arguments, "train").config.curriculum.settings for c in cells}
    assert found == {"dr": {}, "plr": {"beta": 0.1}}


def test_a_variant_that_changes_nothing_of_a_sampler_is_refused(tmp_path: Path) -> None:
    text = (
        SMALL.replace("waker-m", "plr")
        + "variants: {low: {curriculum.plr.beta: 0.1}, high: {curriculum.plr.beta: 0.5}}\n"
    )
    with pytest.raises(UserError, match=r"variant low changes nothing of dr; .*plr\+low: \{curriculum.plr.beta: 0.1\}"):
        read_cells(written(tmp_path, text))
