"""Real futures beside imagined ones, as pictures: arrays that a report can show without model or environment.

Called by :mod:`waker.evaluation.records`. The model filters a few real steps, then continues without observations with
the actions that were really taken; where its frames leave reality is what it has not learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from waker.behaviour.player import RandomPlayer
from waker.collection.family import Family
from waker.collection.slot_group import SlotGroup, slot_group
from waker.evaluation.model_error import SUITE
from waker.evaluation.open_loop import Model, start_states
from waker.evaluation.plan import episode_seeds, evenly_spaced_ids
from waker.evaluation.setup import Setup
from waker.evaluation.trajectories import Trajectory, as_batch, collect
from waker.model.observations import kind_of
from waker.protocols import Player
from waker.seeding import stream, torch_seed
from waker.specs import EnvSpec, ObservationKey
from waker_envs.api import FiniteThetaSpace, ThetaSpace

CONTEXT = 4
"""Real records the model sees before it is left alone."""
STEPS = 8
"""Steps it then imagines."""
CELL = 12
"""Pixels of a cell of a symbolic picture."""
_ATTEMPTS = 8
_PALETTE = np.array(
    [
        (236, 239, 241), (207, 216, 220), (84, 98, 111), (245, 127, 23), (67, 160, 71), (30, 136, 229), (211, 47, 47),
        (142, 36, 170), (253, 216, 53), (0, 150, 136), (121, 85, 72), (233, 30, 99), (63, 81, 181), (158, 157, 36),
    ],
    np.float64,
)  # fmt: skip
_AGENT = np.array((20, 20, 20), np.float64)


def film(
    setup: Setup,
    model: Model,
    *,
    clips: int = 4,
    samples: int = 64,
    player: Player | None = None,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, NDArray[Any]]:
    """Real and imagined pictures of one episode for each of a few θ, spread over the space.

    Args:
        setup: its seed fixes episodes and actions.
        model: on the setup's device.
        clips: θ shown; the experts' hardest is the last one where there is one.
        samples: imagined futures behind a symbolic picture: its colours are mixed by their probabilities.
        player: who acts; None = uniform random actions.
        tick: called before every step; may raise to stop here.

    Returns:
        ``real`` and ``imagined`` (clips, T, height, width, 3) uint8 (the first ``context`` imagined frames are
        reconstructions; past an episode's end real frames repeat its last one), ``context`` (), ``length`` (clips,)
        real records, ``theta`` (clips, D), ``names`` (D,).

    Raises:
        UserError: an environment that fails.
    """
    family, spec, seed, total = setup.family, setup.family.spec, setup.seed, CONTEXT + STEPS
    player = player or RandomPlayer(spec.action, stream(seed, "film actions"))
    rng = stream(seed, "film strip")
    chosen = _clip_thetas(family.space, clips, rng)
    with slot_group(family.with_longest(total - 1), 1) as slots, torch_seed(seed):
        trajectories = [_long_episode(player, slots, family, theta, rng, tick) for theta in chosen]
        imagined = _imagine(model, spec, trajectories, samples, torch.device(setup.device), total)
    real = []
    for trajectory in trajectories:
        at = np.minimum(np.arange(total), trajectory.length)
        real.append(picture(spec.observation, {name: o[at] for name, o in trajectory.observations.items()}))
    return {
        "real": np.stack(real),
        "imagined": imagined,
        "context": np.array(CONTEXT),
        "length": np.array([t.length + 1 for t in trajectories]),
        "theta": chosen,
        "names": np.array(family.space.names),
    }


def picture(keys: Sequence[ObservationKey], observation: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Observations, true or predicted, as pictures (T, height, width, 3).

    Images as they are. Symbolic observations: a categorical key of n² variables is a board of colours; keys of two
    variables with n classes are places on it, drawn in black as dark as they are probable. Any other key is a row of
    squares (left out beside a board if it is one square): classes in colours, numbers in grey (larger is darker).

    Args:
        observation: by key with a leading T: images uint8 or in [0, 1]; categoricals as integers (T, V) or as
            probabilities (T, V, widest); vectors (T, size).
    """
    images = [k for k in keys if k.kind == "image"]
    if images:
        value = observation[images[0].name]
        shown = value if value.dtype == np.uint8 else (255 * np.clip(value, 0, 1)).round().astype(np.uint8)
        return np.repeat(shown, 3, -1) if shown.shape[-1] == 1 else shown[..., :3]
    boards: dict[int, NDArray[np.float64]] = {}  # by side, each cell CELL pixels wide
    rows: list[NDArray[np.float64]] = []
    single: list[NDArray[np.float64]] = []
    places: dict[int, NDArray[np.float64]] = {}
    for key in keys:
        value = observation[key.name]
        if not key.classes:
            flat = value.reshape(len(value), -1).astype(np.float64)
            grey = 255 * (1 - 1 / (1 + np.exp(-2 * flat)))
            rows.append(np.repeat(grey[:, None, :, None], 3, -1))
            continue
        weights = _probabilities(key, value)  # (T, V, widest)
        side = round(len(key.classes) ** 0.5)
        if len(key.classes) == 2 and key.classes[0] == key.classes[1]:
            n = key.classes[0]
            place = np.einsum("ti,tj->tij", weights[:, 0, :n], weights[:, 1, :n])
            places[n] = np.maximum(places.get(n, place), place)
        elif side**2 == len(key.classes) and side > 1 and side not in boards:
            boards[side] = _enlarge(_colours(weights).reshape(len(value), side, side, 3))
        elif len(key.classes) == 1:
            single.append(_colours(weights)[:, None])
        else:
            rows.append(_colours(weights)[:, None])
    if not boards:
        rows += single
    for n, place in places.items():
        boards[n] = _with_disc(boards.get(n, np.full((len(place), n * CELL, n * CELL, 3), 245.0)), place)
    parts = [*boards.values(), *map(_enlarge, rows)]
    width = max(part.shape[2] for part in parts)
    filled = [np.pad(p, ((0, 0), (0, 0), (0, width - p.shape[2]), (0, 0)), constant_values=255) for p in parts]
    return np.concatenate(filled, 1).round().astype(np.uint8)


def _enlarge(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    return cells.repeat(CELL, 1).repeat(CELL, 2)


def _with_disc(board: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.float64]:
    """The board with a disc in each cell, as dark as the place (T, n, n) is probable."""
    centre = (np.arange(CELL) - (CELL - 1) / 2) / CELL
    disc = (centre[:, None] ** 2 + centre[None] ** 2 <= 0.36**2).astype(np.float64)
    alpha = np.einsum("tij,ab->tiajb", place, disc).reshape(board.shape[:3])
    return board + alpha[..., None] * (_AGENT - board)


def _probabilities(key: ObservationKey, value: NDArray[Any]) -> NDArray[np.float64]:
    if value.ndim == 3:
        return value.astype(np.float64)
    return np.eye(max(key.classes))[value.astype(int)]


def _colours(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities over classes (..., C) → mixed colours (..., 3)."""
    palette = _PALETTE[np.arange(weights.shape[-1]) % len(_PALETTE)]
    return weights @ palette


def _clip_thetas(space: ThetaSpace, clips: int, rng: np.random.Generator) -> NDArray[np.float64]:
    if isinstance(space, FiniteThetaSpace):
        thetas = space.points[evenly_spaced_ids(space, clips)]
    else:
        thetas = space.sample(rng, clips)
    if space.hardest is not None and not (thetas == space.hardest).all(1).any():
        thetas = np.vstack([thetas[:-1], space.hardest])
    return thetas


def _long_episode(
    player: Player,
    slots: SlotGroup,
    family: Family,
    theta: NDArray[np.float64],
    rng: np.random.Generator,
    tick: Callable[[], None],
) -> Trajectory:
    """The first episode that does not end before it is cut, or the longest of a few."""
    tried: list[Trajectory] = []
    for seed in episode_seeds(rng, _ATTEMPTS):
        tried += collect(player, slots, [family.episode(theta, seed, SUITE)], tick=tick)
        if tried[-1].length == slots.plays[0].spec.longest:
            break
    return max(tried, key=lambda trajectory: trajectory.length)


def _imagine(
    model: Model, spec: EnvSpec, trajectories: Sequence[Trajectory], samples: int, device: torch.device, total: int
) -> NDArray[np.uint8]:
    """Reconstructions of the context, then one step after another without observations."""
    posterior = model.observe(as_batch(trajectories, device))
    recorded = posterior.state.deter.shape[1]
    context = min(CONTEXT, recorded)
    n = len(trajectories)
    frames = [_decode(model, spec, posterior.state.feature[:, t : t + 1]) for t in range(context)]
    b = torch.arange(n, device=device)
    state = start_states(model, posterior, b, torch.full_like(b, context - 1), samples)
    actions = np.zeros((n, total, spec.action.dim), np.float32)
    for i, trajectory in enumerate(trajectories):
        actions[i, : trajectory.length + 1] = trajectory.actions
    taken = torch.from_numpy(actions).to(device)
    for t in range(context, total):
        state = model.rssm.imagine(state, taken[:, t].unsqueeze(1).expand(-1, samples, -1))
        frames.append(_decode(model, spec, state.feature))
    return np.stack(frames, 1)


def _decode(model: Model, spec: EnvSpec, feature: Tensor) -> NDArray[np.uint8]:
    """Pictures (n, height, width, 3) of features (n, S, F): probabilities averaged over S, images the first's."""
    decoded = model.decoder.predict(model.decoder(feature))
    shown = {}
    for key in spec.observation:
        shown[key.name] = kind_of(key).shown(decoded[key.name]).float().cpu().numpy()
    return picture(spec.observation, shown)
