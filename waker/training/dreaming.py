"""Queries about futures that the world model imagines: a policy, or chance, acts in it from states of the replay.

Asked by ``waker ask --source imagined`` (:mod:`waker.training.asking`). What is shown, and learned from later, is what
the model's decoder makes of a dream: each categorical variable's likeliest class. A dream may show what cannot be;
people should skip it, and a simulated teacher who knows the family's tables does.

Shapes: n dreams of L steps, T records each, F feature.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from waker.agent.segment_features import as_tensors
from waker.behaviour.actor_critic import ActorCriticStack
from waker.model.observations import kind_of
from waker.model.rssm import State
from waker.preferences.imagined import Imagined
from waker.preferences.queries import Pairs
from waker.preferences.segments import Segments, windows
from waker.replay.ring import Replay
from waker.seeding import torch_seed
from waker.specs import ObservationKey
from waker.training.loading import LoadedRun


def dreamt_pairs(
    loaded: LoadedRun,
    policies: ActorCriticStack | None,
    replay: Replay,
    starts: Segments,
    length: int,
    seed: int,
) -> tuple[Imagined, Pairs]:
    """Two dreams from each start state, as pairs.

    Args:
        policies: of which the first acts; None = actions by chance.
        starts: (n,), of which the first states alone count.
        length: L.
        seed: of latents and actions.

    Returns:
        2n dreams, and the segments in them.
    """
    n = starts.n
    both = Segments(*(np.concatenate([part, part]) for part in starts))
    context, place = windows(replay, both._replace(length=np.zeros(2 * n, np.int64)), loaded.config.train.length)
    with torch_seed(seed):
        state = _filtered(loaded, context, place, n)
        dreamt, steps = _dreamt(loaded, policies, state, length)
    records = _joined(context, place, dreamt, steps, replay)
    tick = np.full(2 * n, int(place.max(initial=0)), np.int64)
    segments = Segments(np.arange(2 * n), tick, steps)
    origin = both._replace(length=np.ones(2 * n, np.int64))
    first, second = np.arange(n), np.arange(n, 2 * n)
    return Imagined(records, origin), Pairs(segments.at(first), segments.at(second))


def _filtered(loaded: LoadedRun, context: dict[str, NDArray[Any]], place: NDArray[np.int64], n: int) -> State:
    """The posterior states of the starts, (2n, …): both dreams of a pair begin with the same latents."""
    model = loaded.agent.model
    state = model.observe(as_tensors(model, {name: array[:n] for name, array in context.items()})).state
    at = torch.from_numpy(place[:n]).to(state.deter.device)
    rows = torch.arange(n, device=at.device)
    return State(*(torch.cat([x[rows, at]] * 2) for x in state))


def _dreamt(
    loaded: LoadedRun, policies: ActorCriticStack | None, state: State, length: int
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Records of L imagined steps, name → (2n, L, …), and after how many the episode ended, L if it did not, (2n,)."""
    model, spec = loaded.agent.model, loaded.family.spec
    count = state.deter.shape[0]
    member = torch.zeros(count, dtype=torch.int64, device=state.deter.device)
    features, actions = [], []
    for _ in range(length):
        if policies is None:
            action = loaded.agent.policy_learner.policies.undirected(state.deter.new_zeros(count, spec.action.dim))
        else:
            action = policies.act(state.feature, member, False)
        state = model.rssm.imagine(state, action)
        features.append(state.feature)
        actions.append(action)
    feature = torch.stack(features, 1)  # (2n, L, F)
    over = (model.continue_probability(feature) < 0.5).cpu().numpy()
    steps = np.where(over.any(1), over.argmax(1) + 1, length).astype(np.int64)
    decoded = model.decoder.predict(model.decoder(feature))
    found = {key.name: _as_record(key, decoded[key.name]) for key in spec.observation}
    ends = over & (np.arange(length) == steps[:, None] - 1)
    return {
        **found,
        "action": torch.stack(actions, 1).cpu().numpy(),
        "is_terminal": ends,
        "is_last": ends,
        "is_first": np.zeros_like(ends),
    }, steps


def _as_record(key: ObservationKey, predicted: Tensor) -> NDArray[Any]:
    """Predictions (n, L, …) as the environment would give them."""
    steps = predicted.shape[1]
    shown = kind_of(key).shown(predicted.flatten(0, 1).unsqueeze(1)).float().cpu().numpy()
    if key.classes:
        shown = shown.argmax(-1)
    elif key.kind == "image":
        shown = (255 * np.clip(shown, 0, 1)).round()
    return np.asarray(shown).reshape(-1, steps, *key.shape).astype(key.dtype)


def _joined(
    context: dict[str, NDArray[Any]],
    place: NDArray[np.int64],
    dreamt: dict[str, NDArray[Any]],
    steps: NDArray[np.int64],
    replay: Replay,
) -> dict[str, NDArray[Any]]:
    """Contexts moved so that all start states lie in one column, and the dreams behind them.

    Before a context nothing is held; ``is_first`` says where it begins. Behind a dream's end its last record stands.
    """
    last, length = int(place.max(initial=0)), next(iter(dreamt.values())).shape[1]
    rows = np.arange(len(place))[:, None]
    before = np.arange(last + 1) - last + place[:, None]  # columns of the context, negative before it begins
    behind = np.minimum(np.arange(length), steps[:, None] - 1)
    found = {}
    for name, array in replay.arrays.items():
        real = context[name][rows, np.maximum(before, 0)]
        if name in ("is_first", "is_last", "is_terminal"):
            real = np.where(before >= 0, real, False)
        if name == "theta_id":
            more = np.repeat(real[:, -1:], length, 1)
        elif name == "task_rewards":
            real, more = np.zeros_like(real), np.zeros((len(place), length, *array.shape[2:]))
        else:
            more = dreamt[name][rows, behind]
        found[name] = np.concatenate([real, more], 1).astype(array.dtype)
    return found
