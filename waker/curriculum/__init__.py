"""Curricula: who chooses the next environment. numpy only; torch is never imported here.

:func:`make_curriculum` builds one by name; :class:`Curriculum` is all that the training loop sees of it.
"""

from waker.curriculum.api import Curriculum, Evident, Informed, Priority, Score, Staging, Thetas, Wanted
from waker.curriculum.checker import CurriculumCheckError, check_curriculum
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.continuous import ContinuousCurriculum
from waker.curriculum.credited import Credited
from waker.curriculum.evidence import EpisodeEvidence, Evidence, Needs
from waker.curriculum.mixtures import Mixture
from waker.curriculum.priorities import Boltzmann, Fixed, Rank, Restrict, TopK
from waker.curriculum.quantities import Quantity, quantity
from waker.curriculum.registry import curriculum_names, curriculum_settings, make_curriculum, register_curriculum
from waker.curriculum.replayed import LevelReplay, ReplayLaw
from waker.curriculum.scores import Magnitude, Measured, Reduction, Visits
from waker.curriculum.weighted import Proportional

__all__ = [
    "Boltzmann",
    "ComposedCurriculum",
    "ContinuousCurriculum",
    "Credited",
    "Curriculum",
    "CurriculumCheckError",
    "CurriculumConfig",
    "EpisodeEvidence",
    "Evidence",
    "Evident",
    "Fixed",
    "Informed",
    "LevelReplay",
    "Magnitude",
    "Measured",
    "Mixture",
    "Needs",
    "Priority",
    "Proportional",
    "Quantity",
    "Rank",
    "Reduction",
    "ReplayLaw",
    "Restrict",
    "Score",
    "Staging",
    "Thetas",
    "TopK",
    "Visits",
    "Wanted",
    "check_curriculum",
    "curriculum_names",
    "curriculum_settings",
    "make_curriculum",
    "quantity",
    "register_curriculum",
    "resolve_decay",
]
