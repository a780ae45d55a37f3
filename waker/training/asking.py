"""Queries about a run's replay, and simulated answers: what ``waker ask`` and ``waker answer`` do.

Learned things choose queries here (:mod:`waker.training.adapt_preferences` has taught them), and the truth answers
them; files and rules without either are in :mod:`waker.preferences`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from waker.agent.direct_policy import log_probs
from waker.agent.segment_features import segment_features
from waker.errors import UserError, unknown
from waker.evaluation.exact_advantages import advantages, places_of, step_worths
from waker.evaluation.filmstrip import picture
from waker.model.preference_heads import PreferenceHeads
from waker.preferences import table
from waker.preferences.imagined import Imagined, source_of
from waker.preferences.page import Strip
from waker.preferences.queries import FACTOR, Pairs, disagreement, largest, uniform_pairs
from waker.preferences.segments import Segments, arrived, candidates, ended, joined, shown
from waker.preferences.teachers import Scale, Teacher, discounted, parse_teacher
from waker.replay.ring import Replay
from waker.seeding import stream, torch_seed
from waker.specs import EnvSpec
from waker.storage.tables import read_rows
from waker.training.adapt_preferences import taught
from waker.training.adapted import Adapted
from waker.training.dreaming import dreamt_pairs
from waker.training.loading import LoadedRun

SCORES = ("return", "regret")
_NEWEST = 10
"""Training episodes whose mean return thresholds are shares of."""


def ask(
    loaded: LoadedRun,
    replay: Replay,
    queries: int,
    length: int,
    rule: str,
    seed: int,
    name: str,
    note: Callable[[str], None],
    dream: Path | None = None,
) -> tuple[pd.DataFrame, Imagined | None]:
    """Rows of queries that nobody has answered, and the imagined segments that they are about, if they are.

    Args:
        queries: how many.
        length: steps of a segment.
        rule: one of :data:`waker.preferences.queries.RULES`.
        seed: of what is drawn.
        name: of the task whose head or policy chooses; empty = the newest. Not for ``uniform``.
        dream: the file of the queries, about futures that the model imagines; None = they are about the replay.

    Raises:
        UserError: too few segments, or nothing learned that could choose.
    """
    rng = stream(seed, f"queries by {rule}")
    segments = candidates(replay, length)
    adapter = None if rule == "uniform" else taught(loaded, name, note)
    told = rule if adapter is None else f"{rule} of {adapter.tasks[0]}"
    if dream is not None:
        imagined, pairs = _dreamt(loaded, adapter, replay, segments, queries, length, rule, rng)
        return table.questions(pairs, imagined.replay, loaded.run.name, told, source=source_of(dream)), imagined
    if adapter is None:
        pairs = uniform_pairs(segments, queries, rng)
    else:
        chosen = _by_policy if rule == "policy" else _by_disagreement
        with torch_seed(int(rng.integers(2**31))):
            pairs = chosen(loaded, adapter, replay, segments, queries, rng)
    return table.questions(pairs, replay, loaded.run.name, told), None


def _dreamt(
    loaded: LoadedRun,
    adapter: Adapted | None,
    replay: Replay,
    segments: Segments,
    queries: int,
    length: int,
    rule: str,
    rng: np.random.Generator,
) -> tuple[Imagined, Pairs]:
    """Pairs of imagined segments, two from each of some start states: by chance, or by the policy learned so far.

    By disagreement the policy acts, and of :data:`FACTOR` times as many pairs those are taken about whose answer the
    head's members differ most.
    """
    if not segments.n:
        raise UserError("the replay holds no segment of this length to dream from; choose a smaller --length")
    count = queries * (FACTOR if rule == "disagreement" else 1)
    starts = segments.at(rng.integers(segments.n, size=count))
    policies, seed = None if adapter is None else adapter.policies, int(rng.integers(2**31))
    imagined, pairs = dreamt_pairs(loaded, policies, replay, starts, length, seed)
    if rule != "disagreement":
        return imagined, pairs
    with torch_seed(seed + 1):
        best = _most_disputed(loaded, adapter, imagined.replay, pairs, queries)
    kept = imagined.at(np.concatenate([best, count + best]))
    one, two = pairs.at(best)
    return kept, Pairs(one._replace(slot=np.arange(queries)), two._replace(slot=np.arange(queries, 2 * queries)))


def _by_disagreement(
    loaded: LoadedRun,
    adapter: Adapted,
    replay: Replay,
    segments: Segments,
    queries: int,
    rng: np.random.Generator,
) -> Pairs:
    """Of :data:`FACTOR` times as many pairs those about whose answer the head's members differ most."""
    pairs = uniform_pairs(segments, FACTOR * queries, rng)
    return pairs.at(_most_disputed(loaded, adapter, replay, pairs, queries))


def _most_disputed(
    loaded: LoadedRun, adapter: Adapted | None, replay: Replay, pairs: Pairs, queries: int
) -> NDArray[np.int64]:
    """The pairs about whose answer the head's members differ most, by index."""
    heads = getattr(adapter, "heads", None)
    if not isinstance(heads, PreferenceHeads):
        raise UserError(
            "only a head that was fitted to answers disagrees with itself; `waker adapt` without --features, and with "
            "--method head, rest or self"
        )
    if heads.size < 2:
        raise UserError("one member alone never disagrees; `waker adapt` with --members 3, say")
    features = segment_features(loaded.agent.model, replay, joined(list(pairs)), loaded.config.train.length)
    sums = heads.sums(features.given(heads).unsqueeze(0), features.inside.unsqueeze(0))  # (E, 2c)
    first, second = sums.split(pairs.first.n, 1)
    probability = torch.sigmoid(first - second).cpu().numpy()
    return largest(disagreement(probability), queries)


def _by_policy(
    loaded: LoadedRun,
    adapter: Adapted,
    replay: Replay,
    segments: Segments,
    queries: int,
    rng: np.random.Generator,
) -> Pairs:
    """Of :data:`FACTOR` times as many segments those whose actions the policy would most likely take, in pairs.

    By the mean over steps of log π(a|s): what the policy would do, as far as the replay has seen it done.
    """
    count = min(2 * FACTOR * queries, segments.n)
    if count < 2 * queries:
        raise UserError(f"the replay holds {segments.n} segments, too few for {queries} queries by the policy")
    some = segments.at(rng.choice(segments.n, count, replace=False))
    features = segment_features(loaded.agent.model, replay, some, loaded.config.train.length)
    likely = log_probs(adapter.policies, features.feature[:, :-1], features.action)
    mean = (likely * features.inside).sum(1) / features.inside.sum(1)
    best = rng.permutation(largest(mean.cpu().numpy(), 2 * queries))
    return Pairs(some.at(best[:queries]), some.at(best[queries:]))


def strips(replay: Replay, spec: EnvSpec, pairs: Pairs) -> list[tuple[Strip, Strip]]:
    """Film strips of both segments of each pair."""
    one, two = (_strips(replay, spec, segments) for segments in pairs)
    return list(zip(one, two, strict=True))


def _strips(replay: Replay, spec: EnvSpec, segments: Segments) -> list[Strip]:
    names, over = [key.name for key in spec.observation], ended(replay, segments)
    frames = [picture(spec.observation, shown(replay, names, segments, n)) for n in range(segments.n)]
    return [Strip(film, bool(end)) for film, end in zip(frames, over, strict=True)]


def answer(
    loaded: LoadedRun,
    replay: Replay,
    frame: pd.DataFrame,
    teacher: str,
    score: str,
    task: str,
    seed: int,
    imagined: Imagined | None = None,
) -> pd.DataFrame:
    """The rows with a simulated teacher's answers to all queries.

    Args:
        replay: of the run.
        teacher: see :func:`waker.preferences.teachers.parse_teacher`.
        score: ``return``: the rewards of a segment's steps; ``regret``: how much worse than the best each was.
        task: of the environment.
        seed: of the teacher's chance.
        imagined: segments that the queries are about, in place of the replay's. Their truth is that of the family's
            tables, expected over a step's chance; what shows a state that cannot be is skipped.

    Raises:
        UserError: no such teacher or task, or the family knows no optimum.
    """
    spec, who = loaded.family.spec, parse_teacher(teacher)
    if task not in spec.tasks:
        raise unknown("task", task, spec.tasks)
    if score == "regret" and who.skip:
        raise UserError("a teacher that skips what earns nothing looks at returns: --score regret is at most 0")
    pairs = table.pairs_of(frame)
    rows = _episodes(loaded)
    asked = replay if imagined is None else imagined.replay
    scores = [_scores(loaded, replay, asked, segments, imagined, rows, score, task) for segments in pairs]
    inside = tuple(arrived(asked, "is_last", segments)[1] for segments in pairs)
    assert len(inside) == 2
    label = who.answers(scores[0], scores[1], inside, _scale(who, rows, task), seed)
    label = np.where(np.isnan(scores[0]).any(1) | np.isnan(scores[1]).any(1), np.nan, label)
    sums = [discounted(s, i, 1.0, late=True) for s, i in zip(scores, inside, strict=True)]
    about = json.dumps({**who.parameters, "score": score, "seed": seed})
    return table.labelled(
        frame, label, f"teacher:{teacher}", teacher=about, task=task, score_1=sums[0], score_2=sums[1]
    )


def _episodes(loaded: LoadedRun) -> pd.DataFrame:
    """Rows of the training episodes up to the checkpoint."""
    rows = read_rows(loaded.run.path / "episodes.parquet")
    return rows if rows.empty else rows[rows["step"] <= loaded.step]


def _scores(
    loaded: LoadedRun,
    replay: Replay,
    asked: Replay,
    segments: Segments,
    imagined: Imagined | None,
    rows: pd.DataFrame,
    score: str,
    task: str,
) -> NDArray[np.float64]:
    """What each step of the segments is worth to a teacher, (n, Lmax); NaN where nobody can say."""
    if score == "return" and imagined is None:
        rewards, _ = arrived(asked, "task_rewards", segments)
        return np.asarray(rewards[..., loaded.family.spec.tasks.index(task)], np.float64)
    running: Sequence[dict[str, object]] = loaded.state["collector"]["slots"]
    real = segments if imagined is None else imagined.origin.at(segments.slot)
    places = places_of(loaded.family, replay, real, rows, running)
    if imagined is None:
        return advantages(loaded.family, asked, segments, places, task)
    return step_worths(loaded.family, asked, segments, places, task, score == "regret", lenient=True)


def _scale(teacher: Teacher, rows: pd.DataFrame, task: str) -> Scale:
    """What thresholds are shares of, in this run."""
    if not (teacher.skip or teacher.equal):
        return Scale()
    column = f"return_{task}"
    if rows.empty or column not in rows or not rows[column].notna().any():
        raise UserError("the run has no finished episode of that task yet, whose return thresholds are shares of")
    return Scale(int(rows["length"].max()), float(rows[column].dropna().tail(_NEWEST).mean()))
