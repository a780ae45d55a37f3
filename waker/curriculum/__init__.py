"""Curricula: who chooses the next environment. numpy only; torch is never imported here.

:func:`make_curriculum` builds one by name; :class:`Curriculum` is all that the training loop sees of it.
"""

from waker.curriculum.api import Curriculum, Informed, Priority, Score, Thetas, Wanted
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.continuous import ContinuousCurriculum
from waker.curriculum.mixtures import Mixture
from waker.curriculum.priorities import Boltzmann, Fixed, Rank, Restrict, TopK
from waker.curriculum.registry import curriculum_names, make_curriculum, register_curriculum
from waker.curriculum.scores import Magnitude, Measured, Reduction, Visits

__all__ = [
    "Boltzmann",
    "ComposedCurriculum",
    "ContinuousCurriculum",
    "Curriculum",
    "CurriculumConfig",
    "Fixed",
    "Informed",
    "Magnitude",
    "Measured",
    "Mixture",
    "Priority",
    "Rank",
    "Reduction",
    "Restrict",
    "Score",
    "Thetas",
    "TopK",
    "Visits",
    "Wanted",
    "curriculum_names",
    "make_curriculum",
    "register_curriculum",
    "resolve_decay",
]
