"""What an audit measures on a run: rewards and features of replay steps, sums of segments, and edited segments.

Called by :mod:`waker.training.audit`, which puts it together.

Shapes: n steps or segments, V features, L steps of a segment.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from waker.agent.segment_features import segment_features
from waker.errors import UserError
from waker.model.rssm import Posterior
from waker.model.world_model import WorldModel
from waker.preferences.segments import Segments, windows
from waker.replay.ring import Replay
from waker.seeding import stream, torch_seed
from waker.specs import EnvSpec
from waker.training.audit_features import AuditFeatures
from waker.training.audited_head import Member
from waker.training.loading import LoadedRun
from waker_envs.foreign import foreign, reason_of
from waker_envs.predictions import WHOLE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
ROOMS, EPISODES = "rooms", "episodes"


@dataclass(frozen=True)
class Steps:
    """Steps of the replay, and what is known of the states that they led to.

    Attributes:
        features: name → (n,), all that the file has.
        rewards: by who pays, (n,).
        truth: the task's rewards (n, K), one column a task of the environment.
        terminal: whether the step ended its episode, (n,).
        room: number of the room, or of the episode where there is one room alone, (n,).
        unit: which of both, ``rooms`` or ``episodes``.
    """

    features: Mapping[str, Floats]
    rewards: Mapping[str, Floats]
    truth: Floats
    terminal: Bools
    room: Ints
    unit: str

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.room)

    @property
    def rooms(self) -> int:
        """How many rooms."""
        return len(np.unique(self.room))


def replay_steps(
    loaded: LoadedRun, replay: Replay, features: AuditFeatures, payers: Mapping[str, Member], most: int, seed: int
) -> Steps:
    """Steps of pieces of the replay that do not overlap, drawn by chance until there are ``most``.

    A room is what has the same θ and the same observation, as far as that never changes within an episode.

    Raises:
        UserError: the features fail, or there are too few steps.
    """
    found: dict[str, list[NDArray[Any]]] = {}
    varying, count = set[str](), 0
    names = [key.name for key in loaded.family.spec.observation if key.kind != "image"]
    for records in _pieces(replay, loaded.config.train.length, seed):
        led = ~records["is_first"][:, 1:]
        for name in names:
            same = records[name][:, 1:] == records[name][:, :-1]
            if not same.reshape(*led.shape, -1).all(-1)[led].all():
                varying.add(name)
        parts: dict[str, NDArray[Any]] = {
            "episode": _episodes(records["begun"])[:, 1:],
            "theta_id": records["theta_id"][:, 1:],
            "terminal": records["is_terminal"][:, 1:],
            "truth": records["task_rewards"][:, 1:],
            **{f"key {name}": records[name][:, 1:] for name in names},
            **{f"pays {name}": reward for name, reward in _paid(loaded, records, payers).items()},
        }
        of_states = features.of_states(loaded.family.spec.labelled(records))
        parts |= {f"feature {name}": column[:, 1:] for name, column in of_states.items()}
        for name, array in parts.items():
            found.setdefault(name, []).append(array[led])
        count += int(led.sum())
        if count >= most:
            break
    if not count:
        raise UserError("the replay holds no step to look at; let the run go on first")
    joined = {name: np.concatenate(arrays)[:most] for name, arrays in found.items()}
    room, unit = _rooms(joined, [name for name in names if name not in varying])
    return Steps(
        {name.removeprefix("feature "): column for name, column in joined.items() if name.startswith("feature ")},
        {name.removeprefix("pays "): column for name, column in joined.items() if name.startswith("pays ")},
        joined["truth"].astype(np.float64),
        joined["terminal"].astype(bool),
        room,
        unit,
    )


def _pieces(replay: Replay, length: int, seed: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Records (slots, T) of consecutive ticks, T ≤ length, in an order of chance; each begins as an episode does.

    ``begun`` is the tick at which each record's episode began, or at which what is held of it begins.
    """
    length = max(length, 2)
    begins = [(s, min(s + length, span[1]), span) for span in replay.spans for s in range(*span, length)]
    begins = [(start, stop, span) for start, stop, span in begins if stop - start > 1]
    begun = {span: _begun(replay, *span) for span in replay.spans}
    for at in stream(seed, "steps of an audit").permutation(len(begins)).tolist():
        start, stop, span = begins[at]
        records = dict(replay.read(start, stop))
        records["begun"] = begun[span][:, start - span[0] : stop - span[0]]
        records["is_first"] = records["is_first"].copy()
        records["is_first"][:, 0] = True
        yield records


def _begun(replay: Replay, start: int, stop: int) -> Ints:
    """The tick at which the episode of each record of a span began, its first tick at the earliest, (slots, n)."""
    ticks = np.arange(start, stop)
    first = replay.arrays["is_first"][:, ticks % replay.size]
    return np.asarray(np.maximum.accumulate(np.where(first, ticks, start), 1), np.int64)


def _episodes(begun: Ints) -> Ints:
    """A number for each episode of a replay, whatever piece its records are read in, (slots, T)."""
    slots = len(begun)
    return np.asarray(begun * slots + np.arange(slots)[:, None], np.int64)


@torch.no_grad()
def _paid(
    loaded: LoadedRun, records: Mapping[str, NDArray[Any]], payers: Mapping[str, Member]
) -> dict[str, NDArray[np.float64]]:
    """What each payer gives for the steps behind the first, (slots, T − 1), on the posterior's modes."""
    model = loaded.agent.model
    device = next(model.parameters()).device
    names = (*(key.name for key in model.keys), "action", "is_first")
    batch = {name: torch.from_numpy(np.ascontiguousarray(records[name])).to(device) for name in names}
    feature = model.observe(batch, mode=True).state.feature
    steps = feature[:, :-1], batch["action"][:, 1:], feature[:, 1:]
    return {name: member.rewards(member.heads.given(*steps)).double().cpu().numpy() for name, member in payers.items()}


def _rooms(joined: Mapping[str, NDArray[Any]], constant: Sequence[str]) -> tuple[Ints, str]:
    n = len(joined["theta_id"])
    columns = [joined[f"key {name}"].reshape(n, -1) for name in constant]
    rows = np.concatenate([joined["theta_id"].reshape(n, 1), *columns], 1)
    _, room = np.unique(rows, axis=0, return_inverse=True)
    room = room.reshape(-1).astype(np.int64)
    if room.max() > 0:
        return room, ROOMS
    return joined["episode"].astype(np.int64), EPISODES


# Segments -------------------------------------------------------------------------------------------------------------


class _Modes:
    """A world model whose latents are the posterior's modes, for :func:`segment_features`."""

    def __init__(self, model: WorldModel) -> None:
        self._model, self.keys = model, model.keys

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        return self._model.parameters()

    def observe(self, batch: Mapping[str, torch.Tensor]) -> Posterior:
        return self._model.observe(batch, mode=True)


def segment_sums(
    loaded: LoadedRun, replay: Replay, segments: Segments, payers: Mapping[str, Member], seed: int | None = None
) -> dict[str, Floats]:
    """What each payer gives for the steps of segments together, (n,).

    Args:
        seed: latents are drawn from the posterior by it; None = they are its modes.
    """
    model = loaded.agent.model if seed is not None else cast(WorldModel, _Modes(loaded.agent.model))
    with torch_seed(seed or 0):
        seen = segment_features(model, replay, segments, max(2, loaded.config.train.length))
        return {
            name: (member.rewards(seen.given(member.heads)) * seen.inside).sum(1).double().cpu().numpy()
            for name, member in payers.items()
        }


def excerpt(replay: Replay, segments: Segments, most: int) -> tuple[Replay, Segments]:
    """A small replay of these segments, each in a slot of its own with what the model sees before it; and them there.

    Args:
        most: records of a slot; more where a segment is longer.
    """
    records, place = windows(replay, segments, most)
    n, ticks = records["is_first"].shape
    small = Replay({name: (array.shape[2:], array.dtype) for name, array in records.items()}, n, n * ticks)
    for name, array in records.items():
        small.arrays[name][...] = array
    small.ticks = ticks
    return small, Segments(np.arange(n), place, segments.length)


def edited(env: Any, spec: EnvSpec, task: str, small: Replay) -> dict[str, tuple[Replay, Bools]] | None:
    """The excerpt after each of the family's edits that leave the task alone, and which slots each of them changes.

    Returns:
        By the edit's name; None where the family offers none.

    Raises:
        UserError: the family's method fails.
    """
    if not hasattr(env, "neutral_edits"):
        return None
    space = env.observation_space
    parts = dict(space.spaces) if hasattr(space, "spaces") else {WHOLE: space}
    keys = {key.label if hasattr(space, "spaces") else WHOLE: key.name for key in spec.observation}
    call = f"neutral_edits of {spec.env_id}"
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    changed: dict[str, Bools] = {}
    for slot in range(small.slots):
        states = {label: small.arrays[name][slot].astype(parts[label].dtype) for label, name in keys.items()}
        try:
            with foreign(call, lambda error: UserError(f"{call} failed: {reason_of(error)}"), (NotImplementedError,)):
                found = env.neutral_edits(spec.label_of(task), states)
        except NotImplementedError:
            return None
        for edit, after in found.items():
            if edit not in arrays:
                arrays[edit] = {name: small.arrays[name].copy() for name in keys.values()}
                changed[edit] = np.zeros(small.slots, bool)
            changed[edit][slot] = True
            for label, name in keys.items():
                arrays[edit][name][slot] = after[label]
    replaced: dict[str, tuple[Replay, Bools]] = {}
    for edit, columns in arrays.items():
        copied = functools.reduce(lambda made, item: made.replaced(*item), columns.items(), small)
        replaced[edit] = copied, changed[edit]
    return replaced
