"""Curricula: who chooses the next environment. numpy only; torch is never imported here.

:func:`make_curriculum` builds one by name; :class:`Curriculum` is all that the training loop sees of it.
"""

from waker.curriculum.api import Curriculum, Evident, Informed, Priority, Score, Staging, Thetas, Wanted
from waker.curriculum.boxes.continuous import ContinuousCurriculum
from waker.curriculum.checker import CurriculumCheckError, check_curriculum
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.evidence import EpisodeEvidence, Evidence, Needs
from waker.curriculum.level_replay.table import LevelReplay, ReplayLaw
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.proportional import Proportional
from waker.curriculum.priorities.rules import Boltzmann, Fixed, Rank, Restrict, TopK
from waker.curriculum.registry import curriculum_names, curriculum_settings, make_curriculum, register_curriculum
from waker.curriculum.scores.credited import Credited
from waker.curriculum.scores.error_estimate import Magnitude, Measured, Reduction, Visits
from waker.curriculum.scores.quantities import Quantity, quantity

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
