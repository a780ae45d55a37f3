"""One step equals the authors' in every recorded quantity, and the comparison notices what is not equal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from experiments.reference_step import FORWARD, NORM, WEIGHT, Comparison, compare, main
from waker.machine import products

FILES = sorted((Path(__file__).parents[1] / "reference").glob("step_*.npz"))
DISCRETE = next(f for f in FILES if f.stem == "step_discrete")
Edit = Callable[[dict[str, NDArray[Any]], dict[str, Any]], None]


def edited(source: Path, folder: Path, edit: Edit) -> Path:
    """A copy of a reference file whose arrays and configuration were changed by ``edit(arrays, config)``."""
    with np.load(source) as file:
        arrays = {name: file[name].copy() for name in file.files}
    config = json.loads(str(arrays["config"]))
    edit(arrays, config)
    path = folder / source.name
    np.savez(path, **{**arrays, "config": np.asarray(json.dumps(config))})
    return path


def setting(name: str, value: Any) -> Edit:
    return lambda arrays, config: config.update({name: value})


def test_there_are_three_files() -> None:
    assert [f.stem for f in FILES] == ["step_continuous", "step_discrete", "step_vector_kl"]


@pytest.mark.parametrize("way", get_args(products.Way))
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_step_is_the_authors(path: Path, way: products.Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """By every way of multiplying, which here takes even the smallest products."""
    monkeypatch.setattr(products, "_LEAST_WORK", 0)
    monkeypatch.setattr(products, "_NARROWEST", 1)
    products.use(way)
    comparison = compare(path)
    assert comparison.failed == []
    assert {bound for _, _, bound in comparison.rows} == {FORWARD, NORM, WEIGHT} == {1e-5, 1e-4, 1e-3}
    with np.load(path) as file:
        recorded = {name for name in file.files if name.startswith("met/")}
        weights = {f"weights {name.removeprefix('w1/')}" for name in file.files if name.startswith("w1/")}
    names = {name for name, _, _ in comparison.rows}
    assert recorded <= names
    assert weights <= names
    assert len(weights) > 200


@pytest.mark.long(
    "tests/agent/test_reference_step.py::test_the_step_is_the_authors",
    "tests/machine/test_compile.py::test_the_whole_update_compiles_without_a_break_and_agrees_with_the_eager_one",
    "tests/machine/test_compile.py::test_gradients_of_a_compiled_update_are_the_eager_ones",
)
def test_the_step_as_one_graph_is_the_authors() -> None:
    """Traced and differentiated as for inductor; with inductor itself, and for all files, by ``--compile``: minutes."""
    torch._dynamo.reset()
    comparison = compare(next(f for f in FILES if f.stem == "step_continuous"), backend="aot_eager")
    assert comparison.failed == []
    assert len(comparison.rows) > 250


EDITS: dict[str, tuple[Edit, str]] = {
    "free nats": (setting("kl_free", 1e3), "wm_loss"),
    "KL balance": (setting("kl_balance", 0.7), "weights rssm/"),
    "KL scale": (setting("kl_scale", 2.0), "met/model_grad_norm"),
    "entropy scale": (setting("actor_entropy", 0.0031), "met/actor_ent_scale_stand"),
    "weight decay": (setting("weight_decay", 0.0), "weights rssm/gru_norm/gamma"),
    "Adam's epsilon": (setting("adam_eps", 2e-5), "weights encoder/"),
    "gradient clip": (setting("grad_clip", 1e-3), "weights encoder/"),
    "discount": (setting("discount", 0.98), "met/critic_target_stand"),
    "lambda": (setting("discount_lambda", 0.9), "met/critic_target_stand"),
    "intrinsic scale": (setting("intrinsic_scale", 51.0), "expl/reward"),
    "gradients of reward heads": (setting("grad_heads", ["decoder", "reward"]), "met/model_grad_norm"),
    "ensemble's target": (setting("ensemble_action", "taken"), "expl/reward"),
    "slow critic's schedule": (setting("slow_updates", 100), "weights task/stand/slow/"),
    "actor's gradient": (setting("actor_grad", "dynamics"), "met/actor_loss_stand"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_wrong_setting_is_noticed(name: str, tmp_path: Path) -> None:
    edit, where = EDITS[name]
    failed = [row[0] for row in compare(edited(DISCRETE, tmp_path, edit)).failed]
    assert any(row.startswith(where) for row in failed), failed[:10]


@pytest.mark.parametrize(
    ("weight", "where"),
    [
        ("rssm/img_out_0/kernel", "prior_logit"),
        ("encoder/conv0/kernel", "embed"),
        ("ens1/dense0/kernel", "expl/reward"),
        ("head_reward_run/out/out/bias", "met/reward_mean_run"),
        ("task/flip/slow/out/out/bias", "met/critic_slow_flip"),
        ("expl/actor/dense1/kernel", "met/expl_actor_ent"),
    ],
)
def test_a_wrong_weight_is_noticed(weight: str, where: str, tmp_path: Path) -> None:
    def edit(arrays: dict[str, NDArray[Any]], config: dict[str, Any]) -> None:
        arrays[f"w0/{weight}"].reshape(-1)[0] += 0.01

    failed = [row[0] for row in compare(edited(DISCRETE, tmp_path, edit)).failed]
    assert where in failed, failed[:10]


def test_a_weight_that_moved_elsewhere_is_noticed(tmp_path: Path) -> None:
    """One entry of one weight after the step, off by a hundredth of the learning rate."""

    def edit(arrays: dict[str, NDArray[Any]], config: dict[str, Any]) -> None:
        arrays["w1/rssm/gru_norm/beta"][0] += 1e-2 * config["model_lr"]

    failed = [row[0] for row in compare(edited(DISCRETE, tmp_path, edit)).failed]
    assert failed == ["weights rssm/gru_norm/beta"]


def test_a_weight_that_is_missing_is_noticed(tmp_path: Path) -> None:
    def edit(arrays: dict[str, NDArray[Any]], config: dict[str, Any]) -> None:
        del arrays["w0/rssm/gru_norm/beta"]

    with pytest.raises(AssertionError, match="the file has no rssm/gru_norm/beta"):
        compare(edited(DISCRETE, tmp_path, edit))


def test_numbers_that_are_not_finite_are_past_every_bound() -> None:
    comparison = Comparison()
    comparison.add("loss", np.nan, 1.0, 1e-5)
    comparison.add("norm", np.array([1.0, np.inf]), np.array([1.0, 2.0]), 1e-5)
    assert [row[0] for row in comparison.failed] == ["loss", "norm"]


def test_the_exit_code_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(DISCRETE)]) == 0
    assert main([str(edited(DISCRETE, tmp_path, setting("discount", 0.9)))]) == 1
    assert "<-- past the bound" in capsys.readouterr().out
    assert main([]) == 1
