"""Preferences as other libraries store them, and back; each is named after its source, as their labels contradict.

==============  ===========================================  ======  ==========
library         a label says                                 a tie   skipped
==============  ===========================================  ======  ==========
*imitation*     P(first preferred)                           0.5     left out
*B-Pref*        the index of the winner, 1 = the second      −1      left out
*IPL* (*CPL*)   1 = the second is preferred                  0.5     left out
*trl*           the keys: ``chosen``, ``rejected``           none    left out
==============  ===========================================  ======  ==========

Arrays only: the first library stores pickles, which run code when they are loaded, and none is read or written here.
What is left out is told by a mask over the answers (n,), by which labels are put back. Files are ``.npz`` without
objects, or JSON lines.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker.errors import UserError
from waker.preferences.queries import Pairs
from waker.preferences.segments import Segments, arrived, ended, left
from waker.replay.ring import Replay
from waker.specs import EnvSpec
from waker.storage.files import atomic, reading

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Arrays = dict[str, NDArray[Any]]
_TIE = 0.5


def imitation_labels(label: ArrayLike) -> tuple[NDArray[np.float32], Bools]:
    """Labels (m,) as *imitation* has them, and which of the n answers they are of."""
    given = np.asarray(label, np.float64)
    kept = ~np.isnan(given)
    return given[kept].astype(np.float32), kept


def from_imitation(preferences: ArrayLike, kept: Bools) -> Floats:
    """The labels (n,) of :func:`imitation_labels`, or of a ``PreferenceDataset``'s ``preferences``."""
    return _put_back(np.asarray(preferences, np.float64), kept)


def bpref_labels(label: ArrayLike) -> tuple[NDArray[np.int64], Bools]:
    """Labels (m, 1) as *B-Pref*'s reward model has them, and which of the n answers they are of.

    Raises:
        UserError: a label is neither 0, ½ nor 1: an index holds no probability.
    """
    given = np.asarray(label, np.float64)
    kept = ~np.isnan(given)
    _check_hard(given[kept], "B-Pref")
    return np.where(given[kept] == _TIE, -1, 1 - given[kept]).astype(np.int64)[:, None], kept


def from_bpref(labels: ArrayLike, kept: Bools) -> Floats:
    """The labels (n,) of B-Pref's (m,) or (m, 1)."""
    index = np.asarray(labels, np.float64).reshape(-1)
    return _put_back(np.where(index == -1, _TIE, 1.0 - index), kept)


def ipl_labels(label: ArrayLike) -> tuple[Floats, Bools]:
    """Labels (m,) as IPL's and the first CPL's files have them, and which of the n answers they are of."""
    given = np.asarray(label, np.float64)
    kept = ~np.isnan(given)
    return 1.0 - given[kept], kept


def from_ipl(labels: ArrayLike, kept: Bools) -> Floats:
    """The labels (n,) of :func:`ipl_labels`."""
    return _put_back(1.0 - np.asarray(labels, np.float64), kept)


def trl_rows(
    label: ArrayLike, first: Sequence[str], second: Sequence[str], prompt: Sequence[str] | str = ""
) -> tuple[list[dict[str, str]], Bools]:
    """Rows ``prompt``, ``chosen``, ``rejected`` as *trl*'s trainers read them, and which of the n answers they are of.

    A tie has no such row and is left out.

    Args:
        label: (n,).
        first, second: the segments as text, see :func:`as_texts`.
        prompt: one, or one a pair.

    Raises:
        UserError: a label is neither 0, ½ nor 1.
    """
    given = np.asarray(label, np.float64)
    _check_hard(given[~np.isnan(given)], "trl")
    kept = ~np.isnan(given) & (given != _TIE)
    prompts = [prompt] * len(given) if isinstance(prompt, str) else prompt
    rows = []
    for number in np.flatnonzero(kept).tolist():
        ordered = (first[number], second[number]) if given[number] == 1.0 else (second[number], first[number])
        rows.append({"prompt": prompts[number], "chosen": ordered[0], "rejected": ordered[1]})
    return rows, kept


def from_trl(rows: Sequence[Mapping[str, str]], kept: Bools, first: Sequence[str], second: Sequence[str]) -> Floats:
    """The labels (n,) of :func:`trl_rows`: 1 where what was chosen is the first segment.

    Raises:
        UserError: a row names other segments.
    """
    labels = []
    for row, number in zip(rows, np.flatnonzero(kept).tolist(), strict=True):
        pair = (row["chosen"], row["rejected"])
        if pair not in ((first[number], second[number]), (second[number], first[number])):
            raise UserError(f"a row of trl's is of other segments than those of query {number}")
        labels.append(float(pair[0] == first[number]))
    return _put_back(np.array(labels), kept)


def _check_hard(label: Floats, library: str) -> None:
    if not np.isin(label, (0.0, _TIE, 1.0)).all():
        raise UserError(f"{library} has no label for a probability; only 0, 0.5 and 1 can be converted")


def _put_back(label: Floats, kept: Bools) -> Floats:
    found = np.full(len(kept), np.nan)
    if len(label) != kept.sum():
        raise UserError(f"{len(label)} labels are given for {int(kept.sum())} answers")
    found[kept] = label
    return found


# Segments -------------------------------------------------------------------------------------------------------------


class Fragment(NamedTuple):
    """A segment as imitation's ``TrajectoryWithRew``, field by field.

    Attributes:
        obs: the states t … t+L, name → (L+1, …).
        acts: the actions *taken* in them, (L, A).
        rews: what came of them, (L,).
        terminal: whether the episode ended by itself there.
    """

    obs: Arrays
    acts: NDArray[Any]
    rews: NDArray[np.float32]
    terminal: bool


def imitation_fragments(replay: Replay, spec: EnvSpec, pairs: Pairs, task: int) -> list[tuple[Fragment, Fragment]]:
    """Both segments of each pair as imitation's ``TrajectoryPair``.

    Args:
        task: whose rewards are shown, by its number.
    """
    one, two = (_fragments(replay, spec, segments, task) for segments in pairs)
    return list(zip(one, two, strict=True))


def _fragments(replay: Replay, spec: EnvSpec, segments: Segments, task: int) -> list[Fragment]:
    names = [key.name for key in spec.observation]
    states = {name: _states(replay, name, segments) for name in names}
    actions, _ = arrived(replay, "action", segments)  # the action that led into t + 1 was taken in t
    rewards, _ = arrived(replay, "task_rewards", segments)
    terminal = ended(replay, segments)
    found = []
    for n, steps in enumerate(segments.length):
        obs = {name: array[n, : steps + 1] for name, array in states.items()}
        found.append(Fragment(obs, actions[n, :steps], rewards[n, :steps, task], bool(terminal[n])))
    return found


def _states(replay: Replay, name: str, segments: Segments) -> NDArray[Any]:
    """The states t … t+L, (n, Lmax + 1, …); behind a segment's end its last."""
    longer = segments._replace(tick=segments.tick - 1, length=segments.length + 1)
    return arrived(replay, name, longer)[0]


def bpref_pairs(replay: Replay, spec: EnvSpec, pairs: Pairs) -> tuple[Arrays, Bools]:
    """``sa_1`` and ``sa_2`` as B-Pref's reward model stores them, (m, L, obs ‖ action), and of which pairs.

    An entry is a state and the action taken *in* it; categorical observations are one-hot, all are flat. Segments that
    ended early have no place there: pairs with one are left out.
    """
    steps = max(int(s.length.max(initial=1)) for s in pairs)
    kept = (pairs.first.length == steps) & (pairs.second.length == steps)
    which = np.flatnonzero(kept)
    sides = {f"sa_{n}": _states_actions(replay, spec, segments) for n, segments in enumerate(pairs.at(which), 1)}
    return sides, kept


def _states_actions(replay: Replay, spec: EnvSpec, segments: Segments) -> NDArray[np.float32]:
    parts = []
    for key in spec.observation:
        values, _ = left(replay, key.name, segments)
        if key.classes:
            flat = values.reshape(*values.shape[:2], -1)
            parts += [np.eye(c, dtype=np.float32)[flat[..., i].astype(int)] for i, c in enumerate(key.classes)]
        else:
            parts.append(values.reshape(*values.shape[:2], -1).astype(np.float32))
    actions, _ = arrived(replay, "action", segments)
    return np.concatenate([*parts, actions.reshape(*actions.shape[:2], -1)], -1).astype(np.float32)


def as_texts(replay: Replay, spec: EnvSpec, segments: Segments) -> list[str]:
    """Each segment as one line of JSON, ``states`` by key and ``actions``: what a text model is given."""
    states = {key.name: _states(replay, key.name, segments) for key in spec.observation}
    actions, _ = arrived(replay, "action", segments)
    texts = []
    for n, steps in enumerate(segments.length):
        taken = [spec.action.to_env(action) for action in actions[n, :steps]]
        content = {
            "states": {name: array[n, : steps + 1].tolist() for name, array in states.items()},
            "actions": [np.asarray(action).tolist() for action in taken],
        }
        texts.append(json.dumps(content, separators=(",", ":")))
    return texts


# Files ----------------------------------------------------------------------------------------------------------------


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an ``.npz`` of plain arrays.

    Raises:
        UserError: an array holds Python objects, which only a pickle could keep.
    """
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    if objects := [name for name, array in plain.items() if array.dtype.hasobject]:
        raise UserError(f"{objects[0]} holds Python objects; only plain arrays are written")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **plain)
    with atomic(path) as file:
        file.write(buffer.getbuffer())


def read_arrays(path: Path) -> Arrays:
    """The arrays of an ``.npz``; one that holds a pickle is refused, and none of it is run.

    Raises:
        UserError: it cannot be read so.
    """
    with reading(path), np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
