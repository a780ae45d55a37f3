"""What figures call the model's errors."""

from __future__ import annotations

import pytest

from waker.analysis.glossary import section
from waker.report.captions import error_title


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("one_step_tv", "one-step TV"),
        ("open_loop_tv_3", "open-loop TV, 3 steps"),
        ("open_loop_tv_1", "open-loop TV, 1 step"),
        ("tv_agent_cell_10", "TV of agent_cell, 10 steps"),
        ("latent_kl_1", "latent KL, 1 step"),
        ("observation_nll_11", "observation NLL, 11 steps"),
        ("of_a_plug_in", "of a plug in"),
    ],
)
def test_an_error_has_a_name(metric: str, title: str) -> None:
    assert error_title(metric) == title


def test_every_error_of_the_glossary_has_one() -> None:
    names = [entry.name for entry in section("model_error") if entry.meaning.startswith("Metric.")]
    written = [name.replace("<k>", "3").replace("<key>", "grid") for name in names]
    assert len(written) >= 6
    kinds = ("TV", "NLL", "MSE", "KL")
    assert all(any(kind in error_title(metric) for kind in kinds) for metric in written)
