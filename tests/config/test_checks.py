"""Settings that do not go together are refused whoever made the configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from waker.config.checks import check
from waker.config.presets import PRESETS, tiny
from waker.config.schema import Config
from waker.errors import UserError
from waker.training.build import train_run


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_goes_together(name: str) -> None:
    check(PRESETS[name]())


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (replace(tiny(), train=replace(tiny().train, replay=10)), r"train.replay = 10 holds fewer than .* at least 16"),
        (replace(tiny(), train=replace(tiny().train, prefill=15)), r"train.prefill = 15 leaves fewer .* at least 16"),
        (
            replace(tiny(), curriculum=replace(tiny().curriculum, sampler="d")),
            r"unknown sampler 'd'; did you mean 'dr'",
        ),
    ],
    ids=["replay", "prefill", "sampler"],
)
def test_a_script_is_refused_as_the_command_line_is(config: Config, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        train_run(config, tmp_path)
    assert list(tmp_path.iterdir()) == []
