"""A checker for explorers: plays an explorer of one's own on a tiny world model, in seconds, and explains faults.

For authors of explorers, as :func:`waker.curriculum.checker.check_curriculum` is for those of samplers and
:func:`waker_envs.check_parametric_env` for those of environments. What is promised: :mod:`waker.exploration.api`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from waker.config.presets import preset
from waker.config.schema import ExplorerConfig, ModelConfig
from waker.errors import UserError
from waker.exploration.api import Explorer
from waker.exploration.registry import explorer_class
from waker.model.world_model import WorldModel
from waker.settings import from_plain
from waker.specs import ActionSpec, EnvSpec, ObservationKey
from waker_envs.foreign import reason_of

B, T, H, N, ROUNDS = 3, 6, 4, 7, 3
"""Sequences and steps of a batch, imagined steps, start states, and updates that are made."""
_SPEC = EnvSpec(
    "waker/Checked-v0",
    (ObservationKey("cells", "categorical", (3,), "uint8", (5, 2, 3)),),
    ActionSpec(4, True),
    ("first", "second"),
)


class ExplorerCheckError(AssertionError):
    """A promise is broken; the message says which, what was seen, and what to do."""


@dataclass
class _Checked:
    """An explorer beside a world model, both small, and what makes another one like it."""

    kind: type[Explorer]
    model: WorldModel
    explorer: Explorer
    config: ExplorerConfig

    def another(self, seed: int) -> Explorer:
        torch.manual_seed(seed)
        own = from_plain(self.kind.Own, self.config.settings, "explorer.settings.")
        return self.kind(self.model, _SPEC.action.dim, self.config, own)


def check_explorer(explorer: str | type[Explorer]) -> None:
    """Check an explorer against the interface; it takes seconds. torch's generator is left as it was.

    Args:
        explorer: a registered name, ``file.py:Class``, or a subclass of :class:`waker.exploration.api.Explorer`.

    Raises:
        UserError: there is no such explorer.
        ExplorerCheckError: the first broken promise.
    """
    kind = explorer_class(explorer) if isinstance(explorer, str) else explorer
    if not (isinstance(kind, type) and issubclass(kind, Explorer)):
        raise UserError(f"{kind!r} is no subclass of waker.exploration.api.Explorer")
    with torch.random.fork_rng(devices=[]):
        checked = _made(kind)
        _check_parameters(checked)
        if not kind.acts_at_random:
            _check_reward(checked)
        _check_loss(checked)
        if not kind.acts_at_random:
            _check_state(checked)
        _check_meta(checked)


def _made(kind: type[Explorer]) -> _Checked:
    base = preset("tiny")
    torch.manual_seed(0)
    model = WorldModel(_SPEC, _small(base.model))
    config = replace(base.explorer, heads=2, units=(12,), settings={})
    with _calls("the constructor"):
        own = from_plain(kind.Own, {}, "explorer.settings.")
        return _Checked(kind, model, kind(model, _SPEC.action.dim, config, own), config)


def _small(config: ModelConfig) -> ModelConfig:
    units = (12,)
    return replace(
        config, deter=10, hidden=12, stoch=3, classes=4, encoder_units=units, decoder_units=units, head_units=units
    )


def _check_parameters(checked: _Checked) -> None:
    of_model = {id(parameter) for parameter in checked.model.parameters()}
    if any(id(parameter) in of_model for parameter in checked.explorer.parameters()):
        raise ExplorerCheckError(
            "the explorer keeps the world model: its optimiser would train it, and checkpoints hold it twice; take "
            "what you need (model.rssm.feature_dim) in __init__ and do not keep the model"
        )


def _check_reward(checked: _Checked) -> None:
    feature, action = _rollout(checked)
    before, seen = _state(checked.explorer), (feature.clone(), action.clone())
    with _calls("reward"):
        reward = checked.explorer.reward(feature, action)
    if reward is None:  # the error estimate is
        return
    if not isinstance(reward, Tensor) or reward.shape != (H + 1, N):
        told = tuple(reward.shape) if isinstance(reward, Tensor) else type(reward).__name__
        raise ExplorerCheckError(f"reward must return (H+1, N), here {(H + 1, N)}, one number a state, not {told}")
    if not reward.is_floating_point() or not bool(torch.isfinite(reward).all()):
        raise ExplorerCheckError(f"reward returns {reward.dtype} or numbers that are not finite; make them float")
    if not (torch.equal(feature, seen[0]) and torch.equal(action, seen[1])):
        raise ExplorerCheckError("reward changes feature or action, which others read; work on copies")
    if not _same(before, _state(checked.explorer)):
        raise ExplorerCheckError("reward changes a parameter or a buffer; update running statistics in loss")
    with _calls("reward"):
        part = checked.explorer.reward(feature[:, :2], action[:, :2])
    assert part is not None
    if not torch.allclose(part, reward[:, :2], rtol=1e-4, atol=1e-6):
        raise ExplorerCheckError(
            "the reward of a start state depends on which others are imagined beside it: they come in chunks of any "
            "size (behaviour.chunk); normalise by running statistics that loss keeps"
        )


def _check_loss(checked: _Checked) -> None:
    explorer = checked.explorer
    trained = [parameter for parameter in explorer.parameters() if parameter.requires_grad]
    loss, batch, seen = _loss_of(checked)
    if loss is None:
        if trained:
            raise ExplorerCheckError(
                f"the explorer has {len(trained)} parameters that require a gradient and no loss that gives one; "
                "return it from loss, or freeze them (requires_grad_(False))"
            )
        return
    if not isinstance(loss, Tensor) or loss.ndim:
        told = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ExplorerCheckError(f"loss must be 0-dim, the mean over the batch, not {told}")
    if not bool(torch.isfinite(loss)):
        raise ExplorerCheckError("the loss is not finite")
    if not _same(batch, seen):
        raise ExplorerCheckError("loss changes the batch, which others read; work on copies")
    if not loss.requires_grad:
        raise ExplorerCheckError("no gradient comes from loss: something detaches it from the explorer's parameters")
    checked.model.zero_grad()
    explorer.zero_grad()
    loss.backward()
    if any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in checked.model.parameters()):
        raise ExplorerCheckError("the loss sends a gradient into the world model; take .detach() of the posterior")
    if trained and all(parameter.grad is None for parameter in trained):
        raise ExplorerCheckError("no parameter of the explorer has a gradient of its loss")


def _check_state(checked: _Checked) -> None:
    """What an explorer has learned lies in its parameters and buffers, which checkpoints save."""
    explorer = checked.explorer
    trained = [parameter for parameter in explorer.parameters() if parameter.requires_grad]
    for round_ in range(ROUNDS):
        loss, *_ = _loss_of(checked, seed=round_)
        if loss is not None and trained:
            for parameter, slope in zip(trained, torch.autograd.grad(loss, trained, allow_unused=True), strict=True):
                parameter.data.sub_(0.01 * (torch.zeros_like(parameter) if slope is None else slope))
    resumed = checked.another(seed=1)
    resumed.load_state_dict(copy.deepcopy(explorer.state_dict()))
    feature, action = _rollout(checked)
    with _calls("reward"):
        told, again = explorer.reward(feature, action), resumed.reward(feature, action)
    if told is not None and again is not None and not torch.equal(told, again):
        raise ExplorerCheckError(
            "an explorer with the saved state rewards otherwise: something learned or drawn is neither a parameter nor "
            "a buffer; use register_buffer, so that a stopped run continues bit for bit"
        )


def _check_meta(checked: _Checked) -> None:
    """On torch's meta device there are shapes alone: what reads a value, or makes a shape of one, raises."""
    there = _Checked(checked.kind, copy.deepcopy(checked.model).to("meta"), checked.explorer.to("meta"), checked.config)
    batch = {name: value.to("meta") for name, value in _batch(0).items()}
    with torch.device("meta"):
        posterior = there.model.observe(batch, mode=True)
        feature, action = (x.to("meta") for x in _rollout(checked))
        try:
            there.explorer.loss(posterior, batch)
            if not checked.kind.acts_at_random:
                there.explorer.reward(feature, action)
        except Exception as error:
            raise ExplorerCheckError(
                "reward or loss reads a value back to the host, has a shape that depends on data, or makes a tensor on "
                f"another device than its input's ({reason_of(error)}); it could not be compiled, and would make a GPU "
                "wait"
            ) from error


def _loss_of(checked: _Checked, seed: int = 0) -> tuple[Tensor | None, dict[str, Tensor], dict[str, Tensor]]:
    """The loss of a batch, the batch, and what that was before."""
    batch = _batch(seed)
    seen = {name: value.clone() for name, value in batch.items()}
    posterior = checked.model.observe(batch, mode=True)
    with _calls("loss"):
        return checked.explorer.loss(posterior, batch), batch, seen


def _rollout(checked: _Checked) -> tuple[Tensor, Tensor]:
    """A feature (H+1, N, F) and the actions (H+1, N, A) that led there, the first of which is none."""
    drawn = torch.Generator().manual_seed(3)
    feature = torch.randn(H + 1, N, checked.model.rssm.feature_dim, generator=drawn)
    index = torch.randint(_SPEC.action.dim, (H + 1, N), generator=drawn)
    action = torch.nn.functional.one_hot(index, _SPEC.action.dim).float()
    action[0] = 0.0
    return feature, action


def _batch(seed: int) -> dict[str, Tensor]:
    """Arbitrary data (B, T), with the end of an episode inside the first sequence."""
    drawn = torch.Generator().manual_seed(seed)
    (key,) = _SPEC.observation
    cells = [torch.randint(classes, (B, T), generator=drawn, dtype=torch.uint8) for classes in key.classes]
    index = torch.randint(_SPEC.action.dim, (B, T), generator=drawn)
    first = torch.zeros(B, T, dtype=torch.bool)
    first[:, 0] = True
    ended = torch.zeros_like(first)
    ended[0, 2], first[0, 3] = True, True
    action = torch.nn.functional.one_hot(index, _SPEC.action.dim).float()
    action[first] = 0.0
    return {
        key.name: torch.stack(cells, -1),
        "action": action,
        "task_rewards": torch.randn(B, T, len(_SPEC.tasks), generator=drawn),
        "theta_id": torch.arange(B, dtype=torch.int32).unsqueeze(1).repeat(1, T),
        "is_first": first,
        "is_last": ended.clone(),
        "is_terminal": ended,
    }


def _state(explorer: Explorer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in explorer.state_dict().items()}


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@contextmanager
def _calls(what: str) -> Iterator[None]:
    try:
        yield
    except ExplorerCheckError:
        raise
    except Exception as error:
        raise ExplorerCheckError(f"{what} raises {reason_of(error)}") from error
