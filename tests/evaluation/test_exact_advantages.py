"""Steps judged by a family's tables: what they are worth, and which the tables know nothing of."""

from __future__ import annotations

import numpy as np
import pytest

from waker.collection.spec_of import spec_of
from waker.evaluation.exact_advantages import _Room
from waker_envs.grids.hazards import GridHazards
from waker_envs.tabular import by_key


@pytest.mark.parametrize("regret", [True, False])
def test_a_step_from_where_an_episode_has_ended_is_judged_by_nobody(regret: bool) -> None:
    env = GridHazards()
    table = env.tabular([4, 0.2, 0.0], 0)
    states = by_key(table.states)
    kinds = np.array(env.cell_names)[states["cells"][0]]
    hazard = kinds[states["agent"] @ [env.frame, 1]] == "hazard"
    np.testing.assert_array_equal(table.ended, hazard)
    room = _Room.of(spec_of(env), table, 0)
    worth = [
        room.worths({key: array[[s]] for key, array in states.items()}, np.array([1]), 0, regret)[0]
        for s in range(table.size)
    ]
    np.testing.assert_array_equal(np.isnan(worth), hazard)
    if regret:
        assert np.nanmax(worth) <= 0 and np.nanmin(worth) < 0
