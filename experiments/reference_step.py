"""One training step against the authors' implementation: ``python -m experiments.reference_step [--compile] FILE …``.

A reference file holds one deterministic step of the published code (samples replaced by modes) at a tiny size:
its configuration, batch, every weight before and after, the forward pass, losses and gradient norms. Here the model
is built from the file's configuration alone, the weights are copied in, one :meth:`Agent.update` is made, and
everything is compared. Exit code 1 past the bounds. With ``--compile`` the update is compiled as on a CPU (minutes),
and losses, norms and weights are compared: nothing inside a compiled graph can be listened to.

Bounds: forward pass, exploration rollout and losses 1e-5 and gradient norms 1e-4, relative to the largest entry of
the quantity (a loss or a norm is one entry); weight changes 1e-3 of the learning rate in every entry.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.helpers.reference_weights import copy_weights, read_weights
from waker.agent.agent import Agent
from waker.behaviour.policy_learner import PolicyGradients, PolicyLearner, Rollout
from waker.config.schema import BehaviourConfig, Config, ExplorerConfig, ModelConfig, OptimizerConfig, TrainConfig
from waker.machine.compile import whole
from waker.model.world_model import ModelOutput
from waker.specs import ActionSpec, EnvSpec, ObservationKey

FORWARD, NORM, WEIGHT = 1e-5, 1e-4, 1e-3
Arrays = Mapping[str, NDArray[Any]]


@dataclass
class Comparison:
    """The worst relative deviation of each quantity, with its bound."""

    rows: list[tuple[str, float, float]] = field(default_factory=list)

    def add(self, name: str, ours: Any, theirs: Any, bound: float, scale: float | None = None) -> None:
        """Compare two arrays; deviations are relative to ``scale``, or to their largest entry."""
        ours = ours.cpu() if isinstance(ours, Tensor) else ours
        a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        if a.shape != b.shape:
            raise AssertionError(f"{name}: shape {a.shape} against {b.shape}")
        size = max(float(np.abs(b).max(initial=0.0)), 1e-12) if scale is None else scale
        deviation = float(np.abs(a - b).max(initial=0.0)) / size
        self.rows.append((name, deviation if np.isfinite(a).all() else float("inf"), bound))

    @property
    def failed(self) -> list[tuple[str, float, float]]:
        """Rows past their bound."""
        return [row for row in self.rows if not row[1] <= row[2]]

    def worst(self) -> Iterator[tuple[str, float, float]]:
        """The worst row of each kind of bound."""
        for bound in (FORWARD, NORM, WEIGHT):
            rows = [row for row in self.rows if row[2] == bound]
            if rows:
                yield max(rows, key=lambda row: row[1])


def config_of(reference: Mapping[str, Any], widths: Mapping[str, tuple[int, ...]]) -> Config:
    """Our configuration for the file's; widths of MLPs are read off its weights.

    Raises:
        ValueError: the file asks for something that has one form only in our code.
    """
    c = reference
    for name, only in {"sampling": "mode (straight-through kept)", "disagreement_offset": 1}.items():
        if c[name] != only:
            raise ValueError(f"{name} = {c[name]!r} is not supported, only {only!r}")
    adam = {"eps": c["adam_eps"], "clip": float(c["grad_clip"]), "decay": c["weight_decay"], "keras": True}
    balance = c["kl_balance"]
    return Config(
        model=ModelConfig(
            deter=c["deter"],
            hidden=c["hidden"],
            stoch=c["stoch"],
            classes=c["classes"],
            cnn_depth=c["cnn_depth"],
            encoder_kernels=tuple(c["cnn_kernels_encoder"]),
            decoder_kernels=tuple(c["cnn_kernels_decoder"]),
            encoder_units=tuple(c["encoder_mlp"]),
            decoder_units=tuple(c["decoder_mlp"]),
            head_units=widths["reward"],
            act=c["activation"],
            gru_norm_eps=c["gru_norm_eps"],
            gru_update_bias=float(c["gru_update_bias"]),
            norm="none",
            unimix=0.0,
            symlog=False,
            reward="gaussian",
            zero_heads=False,
            kl_balance="mix" if c["kl_free_average"] else "dyn-rep",
            kl_dyn=balance,
            kl_rep=1.0 - balance,
            kl_scale=c["kl_scale"],
            free_nats=c["kl_free"],
            continue_scale=0.0,
            reward_gradients=any(head.startswith("reward") for head in c["grad_heads"]),
            optimizer=OptimizerConfig(lr=c["model_lr"], **adam),
        ),
        behaviour=BehaviourConfig(
            horizon=c["horizon"],
            discount=c["discount"],
            lambda_=c["discount_lambda"],
            actor_units=widths["actor"],
            critic_units=widths["critic"],
            critic="gaussian",
            gradient=c["actor_grad"],
            min_scale=c["actor_min_std"],
            actor_unimix=0.0,
            entropy=c["actor_entropy"],
            explorer_entropy=c["actor_entropy"],
            normalise_returns=False,
            slow_target=True,
            slow_every=c["slow_target_update"],
            slow_rate=1.0,
            slow_regulariser=0.0,
            baseline="authors",
            actor_optimizer=OptimizerConfig(lr=c["actor_lr"], **adam),
            critic_optimizer=OptimizerConfig(lr=c["critic_lr"], **adam),
        ),
        explorer=ExplorerConfig(
            heads=c["ensemble_heads"],
            units=widths["ensemble"],
            target={"feat": "feature", "deter": "deter"}[c["disagreement_target"]],
            action={"arriving": "authors", "taken": "taken"}[c["ensemble_action"]],
            across_ends=True,
            scale=c["intrinsic_scale"],
            credit_first=True,
            optimizer=OptimizerConfig(lr=c["ensemble_lr"], **adam),
        ),
        train=TrainConfig(task_policies="online"),
    )


def spec_of_reference(reference: Mapping[str, Any], batch: Arrays) -> EnvSpec:
    """The environment's spec for the file: the image, the encoded vectors, the tasks."""
    keys = [ObservationKey("image", "image", tuple(reference["image"]), "uint8")] if reference["image"] else []
    keys += [ObservationKey(k, "vector", batch[k].shape[2:], "float32") for k in reference["vector_keys"]]
    n = reference["action_dim"]
    action = ActionSpec(n, reference["discrete"], () if reference["discrete"] else (-1.0,) * n, (1.0,) * n)
    return EnvSpec("reference", tuple(keys), action, tuple(reference["tasks"]))


def batch_of(arrays: Arrays, spec: EnvSpec) -> dict[str, Tensor]:
    """The file's batch under our keys."""
    batch = {k.name: torch.as_tensor(arrays[k.name]) for k in spec.observation}
    batch |= {k: torch.as_tensor(arrays[k]) for k in ("action", "is_first", "is_terminal")}
    batch["task_rewards"] = torch.as_tensor(arrays["reward"])
    batch["theta_id"] = torch.zeros(arrays["is_first"].shape, dtype=torch.int32)
    return batch


@dataclass
class Recorder:
    """Keeps what the update computes on its way: the model's output and the rollout."""

    model: ModelOutput | None = None
    rollout: Rollout | None = None
    embed: Tensor | None = None

    def attach(self, agent: Agent) -> None:
        """Listen to one update of ``agent``."""
        model_loss, policy_gradients = agent.model.loss, agent.policy_learner.gradients

        def loss(batch: Any, mode: bool = False) -> ModelOutput:
            with torch.no_grad():
                self.embed = agent.model.encoder(batch)
            self.model = model_loss(batch, mode)
            return self.model

        def gradients(*args: Any) -> PolicyGradients:
            found = policy_gradients(*args)
            self.rollout = found.rollout
            return found

        agent.model.loss = loss  # type: ignore[method-assign]
        agent.policy_learner.gradients = gradients  # type: ignore[method-assign]


def compare(path: Path, device: str = "cpu", backend: str | None = None) -> Comparison:
    """Make the file's step on ``device`` and compare every quantity it records.

    Args:
        backend: compile the update with this backend of torch.compile, and leave out what lies inside it; None = do
            not compile.
    """
    with np.load(path) as file:
        arrays: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
    reference = json.loads(str(arrays["config"]))
    batch_arrays = {k.removeprefix("batch/"): v for k, v in arrays.items() if k.startswith("batch/")}
    before = {k.removeprefix("w0/"): v for k, v in arrays.items() if k.startswith("w0/")}
    after = {k.removeprefix("w1/"): v for k, v in arrays.items() if k.startswith("w1/")}
    first = reference["tasks"][0]
    widths = {
        "reward": _widths(before, f"head_reward_{first}"),
        "actor": _widths(before, "expl/actor"),
        "critic": _widths(before, "expl/critic"),
        "ensemble": _widths(before, "ens0"),
    }
    spec = spec_of_reference(reference, batch_arrays)
    agent = Agent(spec, config_of(reference, widths), device)
    copy_weights(agent, before)
    agent.policy_learner.count.fill_(float(reference["slow_updates"]))
    batch = {name: value.to(device) for name, value in batch_of(batch_arrays, spec).items()}
    result = Comparison()
    if backend is None:
        recorder = Recorder()
        recorder.attach(agent)
        _, metrics = agent.update(batch, mode=True)
        _compare_forward(result, recorder, arrays)
    else:
        _, metrics = whole(agent.update, backend)(batch, mode=True)
    _compare_metrics(result, metrics, agent.policy_learner, arrays, reference["tasks"])
    rates = {"model": reference["model_lr"], "actor": reference["actor_lr"], "critic": reference["critic_lr"]}
    rates["ensemble"] = reference["ensemble_lr"]
    ours = read_weights(agent)
    if missing := sorted(set(before) ^ set(ours)):
        raise AssertionError(f"weights not matched: {missing}")
    for name, start in before.items():
        rate = rates[_optimizer_of(name)]
        change = after[name].astype(np.float64) - start
        result.add(f"weights {name}", ours[name].astype(np.float64) - start, change, WEIGHT, scale=rate)
    return result


def _widths(weights: Arrays, module: str) -> tuple[int, ...]:
    """Widths of the hidden layers ``module/dense0 …``."""
    widths = []
    while (name := f"{module}/dense{len(widths)}/bias") in weights:
        widths.append(len(weights[name]))
    return tuple(widths)


def _optimizer_of(name: str) -> str:
    if name.startswith("ens"):
        return "ensemble"
    return "actor" if "/actor/" in name else "critic" if "/critic/" in name or "/slow/" in name else "model"


def _log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _compare_forward(result: Comparison, recorder: Recorder, arrays: Arrays) -> None:
    assert recorder.model is not None and recorder.rollout is not None and recorder.embed is not None
    posterior, trajectory = recorder.model.posterior, recorder.rollout.trajectory
    result.add("embed", recorder.embed, arrays["embed"], FORWARD)
    result.add("post_deter", posterior.state.deter.detach(), arrays["post_deter"], FORWARD)
    result.add("feat", posterior.state.feature.detach(), arrays["feat"], FORWARD)
    # Our logits are normalised; a constant per latent is all that may differ.
    result.add("post_logit", posterior.posterior.detach(), _log_softmax(arrays["post_logit"]), FORWARD)
    result.add("prior_logit", posterior.prior.detach(), _log_softmax(arrays["prior_logit"]), FORWARD)
    result.add("wm_loss", recorder.model.loss.detach(), arrays["wm_loss"], FORWARD)
    result.add("expl/feat", trajectory.feature[:, -1].detach(), arrays["expl/feat"], FORWARD)
    result.add("expl/action", trajectory.action[:, -1].detach(), arrays["expl/action"], FORWARD)
    result.add("expl/reward", recorder.rollout.reward[:, -1].detach(), arrays["expl/reward"], FORWARD)


_MEMBER_METRICS = {
    "actor_loss": "actor_loss",
    "actor_grad_norm": "actor_grad_norm",
    "critic_loss": "critic_loss",
    "critic_grad_norm": "critic_grad_norm",
    "reward_mean": "reward_mean",
    "reward_std": "reward_std",
    "reward_normed_mean": "reward_mean",
    "reward_normed_std": "reward_std",
    "critic_slow": "critic_bootstrap",
    "critic_target": "critic_target",
    "actor_ent": "actor_ent",
    "critic": "critic",
}


def _compare_metrics(
    result: Comparison, metrics: Mapping[str, Tensor], learner: PolicyLearner, arrays: Arrays, tasks: list[str]
) -> None:
    """Every ``met/…`` of the file must be one of ours."""
    ours: dict[str, Any] = {k: v for k, v in metrics.items() if v.dim() == 0}
    ours |= {f"reward_{task}_loss": metrics["reward_loss"][k] for k, task in enumerate(tasks)}
    ours |= {"expl_expl_loss": metrics["ensemble_loss"], "expl_expl_grad_norm": metrics["ensemble_grad_norm"]}
    for theirs, name in _MEMBER_METRICS.items():
        ours |= {f"{theirs}_{task}": metrics[name][k] for k, task in enumerate(tasks)}
        ours[f"expl_{theirs}"] = metrics[name][-1]
    ours |= {f"actor_ent_scale_{task}": learner.entropy_scale[k] for k, task in enumerate(tasks)}
    ours["expl_actor_ent_scale"] = learner.entropy_scale[-1]
    for name, value in arrays.items():
        if name.startswith("met/"):
            bound = NORM if "grad_norm" in name else FORWARD
            result.add(name, ours[name.removeprefix("met/")], value, bound)


def _is_step(path: Path) -> bool:
    """Whether a file holds a step of the published code; beside these lie recorded rewards."""
    with np.load(path) as file:
        return "config" in file.files


def main(paths: list[str]) -> int:
    """Print the worst deviation of every quantity of every step; 1 if any is past its bound, or there is no step."""
    torch.set_num_threads(1)
    failed, backend = 0, "inductor" if "--compile" in paths else None
    paths = [path for path in paths if path != "--compile"]
    steps = [path for path in paths if _is_step(Path(path))]
    for path in paths:
        if path not in steps:
            print(f"{path}: holds no training step; other tests read it")
    for path in steps:
        torch._dynamo.reset()
        comparison = compare(Path(path), backend=backend)
        print(f"{path}: {len(comparison.rows)} quantities, {len(comparison.failed)} past their bound")
        for name, deviation, bound in comparison.rows:
            flag = "" if deviation <= bound else "  <-- past the bound"
            if not name.startswith("weights") or flag:
                print(f"  {name:32s} {deviation:9.2e}  (bound {bound:g}){flag}")
        for name, deviation, bound in comparison.worst():
            print(f"  worst of bound {bound:g}: {deviation:.2e} at {name}")
        failed += len(comparison.failed)
    return 1 if failed or not steps else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
