"""Checks of how a sampler takes what was measured: of whom, in what order, and when it counts."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from waker.curriculum.api import Evident
from waker.curriculum.evidence import Evidence
from waker.curriculum.kit.base import Kit, alike, fail, law_of, same
from waker.curriculum.kit.world import World, small_space
from waker.errors import UserError


def check_fields(kit: Kit) -> None:
    """That it reads no field of a record that it has not named: the learner would not have measured it."""
    curriculum = kit.made()
    try:
        for step in range(9):
            kit.world.step(curriculum, 10 * step)
    except (AttributeError, TypeError, ValueError) as error:
        needs = curriculum.needs if isinstance(curriculum, Evident) else None
        fail(
            f"a run of nine updates failed with {type(error).__name__}: {error}. Its needs are {needs}; "
            "a field that they do not name is None in the records"
        )


def check_order(kit: Kit) -> None:
    """The order of a batch matters among the steps of one θ, never among different θ."""
    one, two = kit.driven(12), kit.driven(12)
    ids = np.array([3, 0, 3, 1, 0, 3, 5, 1])
    record = kit.world.evidence(kit.world.needs(one), ids, 200)
    order = np.argsort(ids, kind="stable")
    arrays = {k: v for k, v in vars(record).items() if isinstance(v, np.ndarray) and len(v) == len(ids)}
    sorted_ = type(record)(**{**vars(record), **{k: v[order] for k, v in arrays.items()}})
    errors = np.arange(1.0, 9.0)
    for curriculum, batch, k in ((one, record, np.arange(8)), (two, sorted_, order)):
        if kit.world.needs(curriculum):
            curriculum.learn(batch)
        curriculum.observe(ids[k], errors[k], 200)
    same(one.probabilities(), two.probabilities(), "the order of different θ in a batch changed the law")
    same(one.estimates(), two.estimates(), "the order of different θ in a batch changed the estimates")


def check_credits(kit: Kit) -> None:
    """Each of several credits of one θ in a batch counts (numpy's ``x[ids] += 1`` counts the last alone)."""
    found = []
    for large in (None, 0, 1, 2):
        curriculum, errors = kit.driven(12), np.ones(3)
        if large is not None:
            errors[large] = 1e4
        curriculum.observe(np.array([3, 3, 3]), errors, 200)
        found.append(curriculum.estimates())
    if found[0] is None or all(alike(found[0], other) for other in found[1:]):
        return  # estimates are of something else
    for place, other in enumerate(found[1:]):
        if alike(found[0], other):
            fail(
                f"of three credits of θ 3 in one batch, number {place + 1} changes no estimate, and others do: some "
                "are lost (numpy's x[ids] += … takes one of several equal ids)"
            )


def check_learned_credits(kit: Kit) -> None:
    """Each of several start states of one θ in an update's record counts, as in :func:`check_credits`."""
    for theta_id in range(6):  # one of them is not the highest, so that a larger number changes a law by ranks
        changed = _changed_by(kit, theta_id)
        if any(changed) and not all(changed):
            fail(
                f"of three start states of θ {theta_id} in one record, number {changed.index(False) + 1} changes no "
                "probability, and others do: some are lost (numpy's x[ids] += … takes one of several equal ids)"
            )


def _changed_by(kit: Kit, theta_id: int) -> list[bool]:
    """Whether the law is another where the first, second or third of three start states has larger numbers."""
    laws = []
    for large in (None, 0, 1, 2):
        curriculum = kit.driven(12)
        if not kit.world.needs(curriculum).update:
            return []
        record = kit.world.evidence(kit.world.needs(curriculum), np.full(3, theta_id), 200)
        if large is not None:
            record = dataclasses.replace(record, **_larger(record, large))
        curriculum.learn(record)
        laws.append(law_of(curriculum))
    return [not alike(laws[0], law) for law in laws[1:]]


def _larger(record: Evidence, place: int) -> dict[str, Any]:
    """The record's numbers of start states, one state's a thousand times as large."""
    found: dict[str, Any] = {}
    for name, value in vars(record).items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and len(value) == len(record.theta_id):
            found[name] = value.copy()
            found[name][place] *= 1e3
    return found


def check_outside(kit: Kit) -> None:
    """θ outside the space (suites, a prefill of others) have ids below 0."""
    one, two = kit.driven(12), kit.driven(12)
    kit.world.update(one, np.full(4, -1), 200)
    kit.world.update(two, np.zeros(0, np.int64), 200)
    one.episode_done(np.array([9.0, 9.0]), -1, {})
    same(one.probabilities(), two.probabilities(), "θ with ids below 0, outside the space, changed the law")
    if not kit.world.needs(one).episode or "trained" not in kit.world.needs(one).kinds:
        return
    before = _last_score(one)
    for step in (210, 220):
        kit.world.episode(one, np.array([9.0, 9.0]), -1, step, "trained")
    same(
        before, _last_score(one), "an episode of a θ with an id below 0 changed the score of the last θ (numpy's x[-1])"
    )


def _last_score(curriculum: Any) -> np.ndarray[Any, Any] | None:
    """The score of the last θ, (1,); None where the table has no scores."""
    scores = curriculum.table().get("score")
    return None if scores is None else np.array(scores, np.float64)[-1:]


def check_bad_numbers(kit: Kit) -> None:
    """A level without a finished episode has NaN or −∞ somewhere; argsort puts NaN among the best."""
    for bad in (np.nan, -np.inf):
        one, two = kit.driven(12), kit.driven(12)
        if not kit.world.needs(one):
            return
        try:
            kit.world.update(one, np.array([8, 8]), 110, bad)
            kit.world.episode(one, kit.space.points[8], 8, 110, "staged", bad)  # type: ignore[attr-defined]
        except UserError:
            pass  # refused aloud
        kit.world.update(two, np.zeros(0, np.int64), 110, bad)
        same(one.probabilities(), two.probabilities(), f"records full of {bad} changed the law; leave them out")


def check_unseen(kit: Kit) -> None:
    """θ that DR never draws and that have no evidence: as if they were not there. Stored as 0 they take ranks."""
    laws = []
    for space in (small_space(), small_space(strangers=5)):
        curriculum, world = kit.made(space=space), World(space, -1.0)
        for step in range(12):
            world.step(curriculum, 10 * step, draw=False)
        laws.append(np.asarray(curriculum.probabilities()))
    if laws[1][9:].any():
        fail(f"θ without DR weight and without evidence have probabilities {laws[1][9:]}")
    same(laws[0], laws[1][:9], "five further θ that DR never draws changed the law of the others")


def check_rounds(kit: Kit) -> None:
    """A held-out round counts when its last episode of a θ is told: else a score is of two models at once."""
    curriculum = kit.driven(12)
    needs = kit.world.needs(curriculum)
    if not needs.heldout:
        return
    theta = kit.space.points[2]  # type: ignore[attr-defined]
    before = law_of(curriculum)
    for left, factor in ((2, 1e4), (1, -1e4)):  # whatever the score is, one of them moves θ
        record = kit.world.episode_evidence(needs, theta, 2, 200, "heldout")
        told = {name: factor * value for name in needs.episode if (value := getattr(record, name)) is not None}
        curriculum.learn_episode(dataclasses.replace(record, left=left, **told))
        same(
            law_of(curriculum),
            before,
            f"a held-out episode with left = {left} changed the law before its round was over; wait for left = 0",
        )
