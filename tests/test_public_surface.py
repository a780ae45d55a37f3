"""What plug-ins of other people import stays: who takes a name away breaks their files."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import waker
from tests.helpers.pages import ROOT, blocks

SURFACE = {
    "waker.curriculum": {
        *("Boltzmann", "ComposedCurriculum", "ContinuousCurriculum", "Credited", "Curriculum", "CurriculumCheckError"),
        *(
            "CurriculumConfig",
            "EpisodeEvidence",
            "Evidence",
            "Evident",
            "Fixed",
            "Informed",
            "LevelReplay",
            "Magnitude",
        ),
        *("Measured", "Mixture", "Needs", "Priority", "Proportional", "Quantity", "Rank", "Reduction", "ReplayLaw"),
        *("Restrict", "Score", "Staging", "Thetas", "TopK", "Visits", "Wanted", "check_curriculum", "curriculum_names"),
        *("curriculum_settings", "make_curriculum", "quantity", "register_curriculum", "resolve_decay"),
    },
    "waker_envs": {
        *("BoxThetaSpace", "EnvCheckError", "FiniteThetaSpace", "Parameter", "ParametricEnv", "Successors", "Suite"),
        *("TabularMDP", "ThetaError", "ThetaSpace", "Transition", "UnknownEnvError", "UnknownTaskError"),
        *("check_parametric_env", "gym_id", "make", "register_family", "registered_ids", "resolve_id"),
    },
    "waker_envs.tabular": {"best_return"},
    "waker_envs.grids.adapter": {"minigrid_family"},
    "waker_envs.grids.hazards": {"GridHazards"},
    "waker.exploration.api": {"Explorer"},
    "waker.exploration.registry": {"register_explorer"},
    "waker.exploration.checker": {"check_explorer"},
    "waker.loggers.api": {"Sink"},
    "waker.settings": {"Count", "NotNegativeInt", "Positive", "Settings", "Share"},
    "waker.cli": {"main"},
}
EXAMPLES = sorted((ROOT / "tests/plugin_example").rglob("*.py"))


@pytest.mark.parametrize("module", SURFACE)
def test_the_names_stay(module: str) -> None:
    there = importlib.import_module(module)
    assert not {name for name in SURFACE[module] if not hasattr(there, name)}
    assert set(getattr(there, "__all__", SURFACE[module])) == SURFACE[module], "a new name is written down here"


def imported(text: str) -> set[tuple[str, str]]:
    """Each module and name that a text imports of the package."""
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in found if node.module and node.module.split(".")[0] in ("waker", "waker_envs")]
    return {(str(node.module), alias.name) for node in ours for alias in node.names}


@pytest.mark.parametrize("source", [*blocks("python"), *EXAMPLES], ids=str)
def test_what_readers_are_shown_is_of_them(source: object) -> None:
    text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source.text  # type: ignore[attr-defined]
    others = {(m, n) for m, n in imported(text) if n not in SURFACE.get(m, set()) and m != "waker"}
    assert not others
    assert {n for m, n in imported(text) if m == "waker"} <= set(waker.__all__)
