"""``check_curriculum``: does a sampler keep the promises of :class:`waker.curriculum.Curriculum`, and what is wrong.

For authors of samplers, in their tests. Every check drives the sampler through a small made-up run with fixed seeds, so
the verdict is the same every time. Each finds a fault that a published implementation had, or that is easily made;
those of a part (ranks, buffers, crediting) that no outside look can see are tests of that part here. The checks are in
:mod:`waker.curriculum.kit.draws`, :mod:`~waker.curriculum.kit.memory` and :mod:`~waker.curriculum.kit.evidence`.
"""

from __future__ import annotations

from waker.curriculum.config import CurriculumConfig
from waker.curriculum.kit import draws, evidence, memory
from waker.curriculum.kit.base import CurriculumCheckError, Factory, Kit
from waker.curriculum.kit.world import World
from waker.curriculum.registry import make_curriculum

__all__ = ["CurriculumCheckError", "check_curriculum"]


def check_curriculum(factory: str | Factory, *, continuous: bool = False) -> None:
    """Check a sampler against the interface; it takes seconds.

    Args:
        factory: a registered name, or a function ``(space, rng) -> Curriculum``.
        continuous: check it on a box of θ, in place of a finite space.

    Raises:
        CurriculumCheckError: the first broken promise.
    """
    kit = Kit(_named(factory) if isinstance(factory, str) else factory, continuous)
    draws.check_samples(kit, kit.made(), "before any evidence")
    evidence.check_fields(kit)
    draws.check_samples(kit, kit.driven(), "after some updates")
    draws.check_chance(kit)
    draws.check_staged(kit)
    worlds = {what: World(kit.space, sign) for what, sign in (("positive", 1.0), ("negative", -1.0), ("all zero", 0.0))}
    for what, world in worlds.items():
        draws.check_law(kit, world, what)
    memory.check_state(kit)
    memory.check_copies(kit)
    memory.check_records(kit)
    if continuous:
        return
    memory.check_reading(kit)
    draws.check_draws_in_a_row(kit)
    for check in (
        evidence.check_order,
        evidence.check_credits,
        evidence.check_learned_credits,
        evidence.check_outside,
        evidence.check_bad_numbers,
        evidence.check_rounds,
        evidence.check_unseen,
    ):
        check(kit)
    for what in ("positive", "all zero"):
        draws.check_frequencies(kit, worlds[what], what)


def _named(name: str) -> Factory:
    return lambda space, rng: make_curriculum(name, space, CurriculumConfig(), rng)
