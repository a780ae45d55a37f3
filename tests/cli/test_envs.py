"""``waker envs show``: a film of the right episode, and one line where there can be none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import waker_envs
from waker.cli import main


def frames(path: Path) -> list[Image.Image]:
    with Image.open(path) as film:
        pictures = []
        for number in range(film.n_frames):
            film.seek(number)
            pictures.append(film.convert("RGB"))
    return pictures


def test_a_film_begins_where_the_episode_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "film.gif"
    command = ["envs", "show", "GridHazards", "--theta", "5", "0.2", "0", "--seed", "3", "--steps", "4"]
    assert main([*command, "--out", str(path)]) == 0
    assert "size=5, hazards=0.2, slip=0" in capsys.readouterr().out
    env = waker_envs.make("GridHazards", render_mode="rgb_array")
    env.reset(seed=3, options={"theta": (5, 0.2, 0)})
    first = frames(path)[0]
    np.testing.assert_allclose(np.asarray(first, float), np.asarray(env.render(), float), atol=40)  # 128 colours
    assert 2 <= len(frames(path)) <= 5


def test_without_theta_or_name_one_is_drawn_and_one_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["envs", "show", "GridHazards", "--steps", "2"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["GridHazards-v0.gif"]


def test_constructor_arguments_reach_the_environment(tmp_path: Path) -> None:
    """One of 99 layouts is another room than one of 2."""
    first = {}
    for layouts in (2, 99):
        path = tmp_path / f"{layouts}.gif"
        command = ["envs", "show", "GridHazards", "--theta", "5", "0.2", "0", "--steps", "1", "--out", str(path)]
        assert main([*command, "--env-kwargs", f"n_layouts={layouts}"]) == 0
        env = waker_envs.make("GridHazards", render_mode="rgb_array", n_layouts=layouts)
        env.reset(seed=0, options={"theta": (5, 0.2, 0)})
        first[layouts] = np.asarray(env.render(), float)
        np.testing.assert_allclose(np.asarray(frames(path)[0], float), first[layouts], atol=40)
    assert abs(first[2] - first[99]).max() > 100


def test_a_family_without_a_docstring_has_none_in_its_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of a class it inherits from is about another one."""
    source = Path(__file__).parents[1] / "plugin_example" / "corridor_example.py"
    code = source.read_text(encoding="utf-8")
    (tmp_path / "halls.py").write_text(f"{code}\n\nclass Bare(Corridor):\n    pass\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["envs", "halls.py:Bare"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("halls.py:Bare") and lines[1] == "" and "θ" in lines[2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["Terain"], "did you mean 'waker/TerrainWalker-v0'?"),
        (["GridHazards", "--theta", "9", "0", "0"], "outside the space; the nearest is"),
        (["GridHazards", "--steps", "0"], "--steps 0 must be at least 1"),
        (["GridHazards", "--out", "/dev/null/film.gif"], "cannot save the film"),
        (["GridHazards", "--env-kwargs", "n_layout=3"], "takes no argument 'n_layout'; did you mean 'n_layouts'?"),
        (["TerrainWalker", "--env-kwargs", "ground=ice"], "ground must be 'noise' or 'stairs', got 'ice'"),
        ([], "missing argument: STR Environment id"),
    ],
)
def test_what_cannot_be_shown_is_told_in_one_line(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["envs", "show", *arguments]) != 0
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_renderer_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from waker_envs.physics import gl

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gl, "_made", None)
    monkeypatch.setattr(gl, "PROBES", {"egl": lambda: False, "osmesa": lambda: False})
    assert main(["envs", "show", "CleanUp", "--steps", "1"]) != 0
    error = capsys.readouterr().err
    assert "apt-get install libegl1" in error
    assert error.count("\n") == 1
