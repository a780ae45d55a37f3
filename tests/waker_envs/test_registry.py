"""Registration: our ids, other packages' entry points, and what is said about a wrong name."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import gymnasium as gym
import pytest

import waker_envs
import waker_envs.testing
from waker_envs import registry
from waker_envs.testing import HardTheta, NoisyTheta


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo registrations of a test."""
    known = dict(gym.registry)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    yield
    gym.registry.clear()
    gym.registry.update(known)


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=registry.ENTRY_POINT_GROUP)


def test_all_families_are_listed_and_made() -> None:
    ids = waker_envs.registered_ids()
    assert ids[: len(registry.BUILT_IN)] == tuple(registry.BUILT_IN)
    for env_id in ids:
        env = waker_envs.make(env_id)
        assert env.unwrapped is env
        assert env.spec is not None
        assert env.spec.id == env_id


def test_gymnasium_makes_them_with_arguments() -> None:
    env = gym.make("waker/GridHazards-v0", task="green", obs="pixels", render_mode="rgb_array")
    assert env.observation_space.shape == (64, 64, 3)
    assert env.get_wrapper_attr("task") == "green"


def test_short_names_of_ours_are_understood() -> None:
    assert waker_envs.resolve_id("GridHazards") == "waker/GridHazards-v0"
    assert waker_envs.resolve_id("test-Hard-v0") == "waker/test-Hard-v0"


def test_short_names_of_others_are_understood_as_ours_are(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ("mine/Corridor-v0", "mine/Corridor-v10", "mine/Corridor-v9", "yours/Maze-v1", "mine/Maze-v0")
    monkeypatch.setattr(
        registry, "_registered", {**registry._registered, **dict.fromkeys((*theirs, "mine/DoorKey-v3"))}
    )
    assert waker_envs.resolve_id("Corridor") == "mine/Corridor-v10"
    assert waker_envs.resolve_id("Corridor-v0") == "mine/Corridor-v0"
    assert waker_envs.resolve_id("DoorKey") == "waker/DoorKey-v0"
    assert waker_envs.resolve_id("Maze-v1") == "yours/Maze-v1"
    with pytest.raises(
        waker_envs.UnknownEnvError, match="several environments; name one of yours/Maze-v1, mine/Maze-v0"
    ):
        waker_envs.resolve_id("Maze")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("waker/GridHazard-v0", "waker/GridHazards-v0"),
        ("gridcleanup", "waker/GridCleanUp-v0"),
        ("waker/Multiroom-v1", "waker/MultiRoom-v0"),
        ("lavacrosing", "waker/LavaCrossing-v0"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(waker_envs.UnknownEnvError, match="did you mean") as caught:
        waker_envs.make(name)
    assert meant in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_like_no_other_is_told_what_there_is() -> None:
    with pytest.raises(waker_envs.UnknownEnvError, match=r"there are .*waker/DoorKey-v0"):
        waker_envs.make("xyzzy")


def test_an_environment_without_theta_is_no_family() -> None:
    with pytest.raises(waker_envs.UnknownEnvError, match="CartPoleEnv, which is no ParametricEnv"):
        waker_envs.make("CartPole-v1")


@pytest.mark.usefixtures("clean")
def test_the_same_registration_twice_is_harmless_but_a_taken_id_is_refused() -> None:
    waker_envs.register_family("mine/Line-v0", HardTheta)
    waker_envs.register_family("mine/Line-v0", HardTheta)
    assert waker_envs.registered_ids().count("mine/Line-v0") == 1
    with pytest.raises(ValueError, match="taken"):
        waker_envs.register_family("mine/Line-v0", NoisyTheta)


@pytest.mark.usefixtures("clean")
def test_default_arguments_go_to_the_constructor() -> None:
    waker_envs.register_family("mine/Line-v0", HardTheta, task="left")
    assert waker_envs.make("mine/Line-v0").task == "left"


@pytest.mark.usefixtures("clean")
def test_an_entry_point_may_name_a_class() -> None:
    registry.load_entry_points([point("plug/Line-v0", "waker_envs.testing:HardTheta")])
    assert isinstance(waker_envs.make("plug/Line-v0"), HardTheta)
    assert "plug/Line-v0" in waker_envs.registered_ids()


@pytest.mark.usefixtures("clean")
def test_an_entry_point_may_name_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "line_plugin.py").write_text(
        "import waker_envs, waker_envs.testing\n"
        "def register():\n"
        "    waker_envs.register_family('plug/A-v0', waker_envs.testing.HardTheta)\n"
        "    waker_envs.register_family('plug/B-v0', 'waker_envs.testing:NoisyTheta')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.load_entry_points([point("line", "line_plugin:register")])
    assert waker_envs.registered_ids()[-2:] == ("plug/A-v0", "plug/B-v0")


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    "value", ["no_such_module:thing", "waker_envs.testing:nothing", "waker_envs.registry:BUILT_IN"]
)
def test_a_broken_plug_in_is_left_out_with_a_warning_and_the_next_one_loads(value: str) -> None:
    with pytest.warns(RuntimeWarning, match="'bad'.*left out") as caught:
        registry.load_entry_points([point("bad", value), point("plug/Line-v0", "waker_envs.testing:HardTheta")])
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert "plug/Line-v0" in waker_envs.registered_ids()


@pytest.mark.usefixtures("clean")
def test_a_good_plug_in_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.load_entry_points([point("plug/Line-v0", "waker_envs.testing:HardTheta")])
