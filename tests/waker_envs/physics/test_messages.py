"""MuJoCo's warnings reach the logger and leave no file behind."""

from __future__ import annotations

import logging
from pathlib import Path

import mujoco
import pytest

from waker_envs.physics.messages import to_logging

FALLING = '<mujoco><worldbody><body><freejoint/><geom size="0.1"/></body></worldbody></mujoco>'


def test_a_simulation_that_diverges_is_logged_and_no_file_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    to_logging()
    model = mujoco.MjModel.from_xml_string(FALLING)
    data = mujoco.MjData(model)
    data.qvel[:] = 1e30
    with caplog.at_level(logging.WARNING, "waker_envs.physics"):
        mujoco.mj_step(model, data)
    assert "unstable" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_handler_of_the_program_s_own_is_left_alone() -> None:
    before, heard = mujoco.get_mju_user_warning(), list[str]()
    try:
        mujoco.set_mju_user_warning(heard.append)
        handler = mujoco.get_mju_user_warning()
        to_logging()
        assert mujoco.get_mju_user_warning() == handler
    finally:
        mujoco.set_mju_user_warning(before)
