"""Fitting a reward head to preferences, until it has learned what the answers tell: to a criterion, not for some steps.

Called by :mod:`waker.training.adapt_preferences`. The world model is frozen, so the segments are filtered once, with
several draws of their latents: those of imagination are drawn as well. Each member learns from all pairs but a fold of
its own, on which it is judged.

Shapes: n pairs of segments, E members, S draws of latents, L steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from waker.agent.segment_features import as_tensors, drawn_features
from waker.config.schema import OptimizerConfig
from waker.errors import UserError
from waker.model.optim import Adam
from waker.model.preference_heads import PreferenceHeads, preference_loss
from waker.model.world_model import WorldModel
from waker.preferences.segments import joined
from waker.preferences.table import Answers
from waker.replay.ring import Replay
from waker.seeding import torch_seed

CHECK = 50
"""Updates between two looks at the criterion."""
_REPLAY_STATES = 4_096
_FOLDS = 10


@dataclass(frozen=True)
class HeadSettings:
    """How a head is fitted.

    Attributes:
        members: E.
        error: share of answers taken to be a coin's; 0 = none.
        lr, decay: Adam's rate, and the share of all weights that each update takes off.
        batch: pairs of an update; all where there are fewer.
        draws: S, latents drawn for each segment; fewer where they would take more than a gigabyte.
        patience: checks without any progress after which the head has learned what there is.
        accuracy: share of the untied training pairs that must be right by then.
        most: updates at which it is given up waiting.
    """

    members: int = 3
    error: float = 0.0
    lr: float = 3e-3
    decay: float = 3e-5
    batch: int = 64
    draws: int = 4
    patience: int = 20
    accuracy: float = 0.97
    most: int = 20_000

    def __post_init__(self) -> None:
        if self.members < 1 or not 0.0 <= self.error < 1.0:
            raise UserError("a head has at least one member, and its share of random answers lies in [0, 1)")


@dataclass
class Criterion:
    """Whether there is anything left to learn.

    The fit ends when, over the last checks, neither loss nor accuracy of the pairs held out became better than ever
    before, and the training pairs are right or no longer become so: their loss has stopped to fall, too (answers that
    contradict each other are never all right).

    Attributes:
        settings: patience, accuracy, most.
        best: of each measure; larger is better.
        since: checks since one of those held out became better, and since the training loss did.
    """

    settings: HeadSettings
    best: dict[str, float] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=lambda: {"validation": 0, "training": 0})

    def met(self, check: Mapping[str, float], updates: int) -> bool:
        """Take note of a check, and tell whether the fit is over."""
        better = {
            "validation": [self._better("validation_accuracy", check), self._better("validation_loss", check)],
            "training": [self._better("training_loss", check)],
        }
        for kind, found in better.items():
            self.since[kind] = 0 if any(found) else self.since[kind] + 1
        patience = self.settings.patience
        right = check["training_accuracy"] >= self.settings.accuracy or self.since["training"] >= patience
        return (right and self.since["validation"] >= patience) or updates >= self.settings.most

    def _better(self, name: str, check: Mapping[str, float]) -> bool:
        """Whether a measure is better than ever before, a loss by a hundredth."""
        value = check[name] if name.endswith("accuracy") else -check[name]
        before = self.best.get(name, -np.inf)
        margin = 0.01 * abs(before) if name.endswith("loss") and np.isfinite(before) else 0.0
        if not value > before + margin:
            return False
        self.best[name] = value
        return True


class HeadFit:
    """A head being fitted.

    Args:
        model: frozen.
        heads: fresh.
        replay: of the run.
        answers: what was answered.
        settings: how.
        context: records that the model sees before a segment, at most; also those of a window, two at least, from which
            states are drawn for the scale.
        seed: of latents, folds and batches.
        asked: that the segments lie in; None = the run's replay.
    """

    def __init__(
        self,
        model: WorldModel,
        heads: PreferenceHeads,
        replay: Replay,
        answers: Answers,
        settings: HeadSettings,
        context: int,
        seed: int,
        asked: Replay | None = None,
    ) -> None:
        self.model, self.heads, self.settings = model, heads, settings
        self._replay, self._window, self._seed = replay, context, seed
        device = next(heads.parameters()).device
        n = len(answers.label)
        both = joined(list(answers.pairs))
        drawn = drawn_features(model, asked or replay, both, context, settings.draws, seed)
        given = torch.stack([features.given(heads) for features in drawn])  # (S, 2n, L, inputs)
        self._given = given[:, :n], given[:, n:]
        self._inside = drawn[0].inside[:n], drawn[0].inside[n:]  # (n, L)
        self._label = torch.tensor(answers.label, dtype=torch.float32).to(device)
        self._untied = self._label != 0.5
        self.rng = np.random.default_rng(seed)
        fold = np.argsort(self.rng.permutation(n), kind="stable") % _FOLDS  # (n,), of equal size
        member = np.arange(settings.members)[:, None] % _FOLDS
        held_out = (fold == member) & (n >= _FOLDS)
        self._train = [np.flatnonzero(~row) for row in held_out]
        self._held_out = torch.from_numpy(held_out).to(device)  # (E, n)
        lengths = both.length
        self.pinned = bool((lengths[:n] != lengths[n:]).any())
        self.optimizer = Adam(
            heads.parameters(), OptimizerConfig(lr=settings.lr, eps=1e-8, decay=settings.decay), settings.members
        )
        self.criterion = Criterion(settings)
        self.updates, self.finished = 0, False
        self.check: dict[str, float] = {}

    def step(self) -> bool:
        """:data:`CHECK` updates and a look at the criterion; whether the fit is over."""
        for _ in range(CHECK):
            self._update()
        self.check = self._measured()
        if self.criterion.met(self.check, self.updates):
            self._settle()
            self.finished = True
        return self.finished

    def _update(self) -> None:
        size = min(self.settings.batch, *map(len, self._train))
        index = np.stack([self.rng.choice(own, size, replace=False) for own in self._train])
        draw = int(self.rng.integers(len(self._given[0])))
        at = torch.from_numpy(index).to(self._label.device)  # (E, b)
        sums = [self.heads.sums(g[draw][at], i[at]) for g, i in zip(self._given, self._inside, strict=True)]
        loss = preference_loss(sums[0] - sums[1], self._label[at], self.settings.error)
        self.optimizer.descend(loss.mean(1).sum())
        self.updates += 1

    @torch.no_grad()
    def differences(self, draw: int = 0) -> Tensor:
        """Each member's G₁ − G₂ of every pair, (E, n)."""
        sums = [
            self.heads.sums(given[draw].unsqueeze(0), inside.unsqueeze(0))
            for given, inside in zip(self._given, self._inside, strict=True)
        ]
        return sums[0] - sums[1]

    def _measured(self) -> dict[str, float]:
        """Loss and accuracy of the pairs that members learn from, and of those held out from them."""
        difference = self.differences()
        label = self._label.expand_as(difference)
        loss = preference_loss(difference, label, self.settings.error)
        right = ((difference > 0) == (label > 0.5)).float()
        untied = self._untied.expand_as(right)
        found = {}
        for name, which in (("training", ~self._held_out), ("validation", self._held_out)):
            found[f"{name}_loss"] = _mean(loss, which)
            found[f"{name}_accuracy"] = _mean(right, which & untied)
        return found

    @torch.no_grad()
    def _settle(self) -> None:
        """Set the head's offset and scale by states of the replay."""
        rng = np.random.default_rng(self._seed)
        windows = self._replay.sample(rng, max(1, _REPLAY_STATES // self._window), self._window)
        batch = as_tensors(self.model, windows)
        with torch_seed(self._seed):
            feature = self.model.observe(batch).state.feature
        given = self.heads.given(feature[:, :-1], batch["action"][:, 1:], feature[:, 1:])
        led = ~batch["is_first"][:, 1:]
        self.heads.settle(self.heads.members(given[led].unsqueeze(0)).mean(0), self.pinned)

    @property
    def told(self) -> str:
        """How far it is, or how it ended, in one line."""
        c = self.check
        if not c:
            return f"head: {self.updates:,} updates"
        told = f"head: {self.updates:,} updates, {_share(c['training_accuracy'])} of the pairs with a choice right"
        if np.isnan(c["validation_loss"]):
            return f"{told} (loss {c['training_loss']:.3f}); too few to hold some out"
        held_out = f"{_share(c['validation_accuracy'])} of those held out"
        return f"{told}, {held_out} (loss {c['training_loss']:.3f} and {c['validation_loss']:.3f})"

    def record(self) -> dict[str, Any]:
        """What came of it, as JSON."""
        return {
            "settings": asdict(self.settings),
            "updates": self.updates,
            **{name: None if np.isnan(value) else value for name, value in self.check.items()},
            "converged": self.updates < self.settings.most,
            "offset": float(self.heads.offset),
            "scale": float(self.heads.scale),
            "constant_pinned": self.pinned,
        }

    def state_dict(self) -> dict[str, Any]:
        """All but the head and the pairs."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.bit_generator.state,
            "updates": self.updates,
            "finished": self.finished,
            "best": dict(self.criterion.best),
            "since": dict(self.criterion.since),
            "check": dict(self.check),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; the head has its own state."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = state["rng"]
        self.updates, self.finished = int(state["updates"]), bool(state["finished"])
        self.criterion.best, self.criterion.since = dict(state["best"]), dict(state["since"])
        self.check = dict(state["check"])


def _share(accuracy: float) -> str:
    return "none" if np.isnan(accuracy) else f"{100 * accuracy:.0f} %"


def _mean(values: Tensor, which: Tensor) -> float:
    """Mean of the chosen ones; NaN where there are none."""
    count = which.sum()
    return float((values * which).sum() / count) if count else float("nan")
