"""Names of curricula: how the training loop gets one, and how a new one is added.

A sampler is a factory ``(space, config, rng, samples_per_update) -> Curriculum`` under a name: a file in
``waker/curriculum/named/``, :func:`register_curriculum`, or an entry point in the group ``waker.curricula``; see
:mod:`waker.curriculum.plug_ins`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from waker.curriculum.api import Curriculum
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.foreign import ForeignCurriculum
from waker.curriculum.plug_ins import Registry, is_ours
from waker.errors import UserError
from waker_envs.api import FiniteThetaSpace, ThetaSpace


class CurriculumFactory(Protocol):
    """Builds a sampler for a space."""

    def __call__(
        self, space: ThetaSpace, config: CurriculumConfig, rng: np.random.Generator, samples_per_update: int
    ) -> Curriculum:
        """See :func:`make_curriculum`."""


CURRICULA: Registry[CurriculumFactory] = Registry("sampler", "waker.curriculum.named", "waker.curricula")
register_curriculum = CURRICULA.register
curriculum_names = CURRICULA.names


def make_curriculum(
    name: str,
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int = 800,
) -> Curriculum:
    """Build a sampler.

    Args:
        name: one of :func:`curriculum_names`; ``config.sampler`` is not read here.
        space: the θ space of the environment.
        config: the sampler's numbers.
        rng: a generator of the curriculum's own (its state is saved with the curriculum's).
        samples_per_update: N = B·T, the credits of one update (default: the paper's 16 × 50), for
            ``config.memory_updates``.

    Raises:
        UserError: unknown name; a space or expert set the sampler needs is missing; a broken third-party package; a
            third party's sampler that raises, now or when it is called (:class:`ForeignCurriculum`).
    """
    factory = CURRICULA.find(name)
    if is_ours(factory):
        return factory(space, config, rng, samples_per_update)
    return ForeignCurriculum.made(name, space, lambda: factory(space, config, rng, samples_per_update))


def finite(space: ThetaSpace, name: str) -> FiniteThetaSpace:
    """The space, if it is finite.

    Raises:
        UserError: it is continuous, so the sampler ``name`` cannot keep its table.
    """
    if not isinstance(space, FiniteThetaSpace):
        raise UserError(f"sampler {name!r} needs a finite θ space; for a continuous one choose 'dr'")
    return space
