"""Pictures of observations, and film strips of a model that knows the future."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import waker_envs
from tests.helpers.families import family_of
from tests.helpers.known_dynamics import RingModel
from tests.helpers.ring import SLIPS, Ring
from waker.collection.spec_of import spec_of
from waker.config.presets import tiny
from waker.config.schema import EvalConfig
from waker.evaluation.filmstrip import CELL, CONTEXT, STEPS, film, picture
from waker.evaluation.setup import Setup
from waker.model.world_model import WorldModel
from waker.specs import ObservationKey
from waker_envs.testing import HardTheta, PictureEnv

BOARD = ObservationKey("cells", "categorical", (4,), "uint8", (3,) * 4)
PLACE = ObservationKey("agent", "categorical", (2,), "uint8", (2, 2))


def test_a_board_shows_its_classes_and_where_the_agent_is() -> None:
    seen = {"cells": np.array([[0, 1, 2, 0]]), "agent": np.array([[1, 0]])}
    (shown,) = picture([PLACE, BOARD], seen)
    assert shown.shape == (2 * CELL, 2 * CELL, 3)
    corners = {tuple(shown[y, x]) for y in (0, CELL) for x in (0, CELL)}
    assert len(corners) == 3  # three classes on four cells
    assert shown[CELL + CELL // 2, CELL // 2].max() < 60  # the disc in cell (1, 0)
    assert shown[CELL // 2, CELL // 2].min() > 60


def test_probabilities_are_mixed() -> None:
    middle = CELL // 2
    sure = {"cells": np.array([[0, 0, 0, 0]]), "agent": np.array([[0, 0]])}
    unsure = {"cells": np.eye(3)[[[0, 0, 0, 0]]], "agent": np.array([[[0.5, 0.5], [1.0, 0.0]]])}
    dark, half = picture([PLACE, BOARD], sure)[0], picture([PLACE, BOARD], unsure)[0]
    blank = float(dark[middle, CELL + middle, 0])
    assert half[middle, middle, 0] == pytest.approx((float(dark[middle, middle, 0]) + blank) / 2, abs=1)
    assert half[CELL + middle, middle, 0] == half[middle, middle, 0]


def test_images_pass_through_and_vectors_are_grey() -> None:
    image = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    key = ObservationKey("image", "image", (8, 8, 3), "uint8")
    assert (picture([key], {"image": image}) == image).all()
    assert abs(picture([key], {"image": image / 255.0}).astype(int) - image).max() == 0
    vector = ObservationKey("x", "vector", (3,), "float32")
    shown = picture([vector], {"x": np.array([[-2.0, 0.0, 2.0]])})[0, 0, ::CELL, 0]
    assert list(shown) == sorted(shown, reverse=True)  # larger is darker
    assert int(shown[1]) in (127, 128)


def test_a_single_square_is_drawn_only_without_a_board() -> None:
    under = ObservationKey("under", "categorical", (1,), "uint8", (3,))
    seen = {"cells": np.array([[0, 1, 2, 0]]), "under": np.array([[2]])}
    assert picture([BOARD, under], seen).shape == (1, 2 * CELL, 2 * CELL, 3)
    assert picture([under], seen).shape == (1, CELL, CELL, 3)


def test_a_model_that_knows_the_future_shows_it() -> None:
    strip = film(Setup(family_of(Ring), EvalConfig()), RingModel())
    assert strip["theta"].tolist() == [[s] for s in SLIPS]
    assert strip["real"].shape[1] == CONTEXT + STEPS == strip["imagined"].shape[1]
    assert (strip["length"] == CONTEXT + STEPS).all()
    sure, noisy = (abs(strip["real"][i].astype(int) - strip["imagined"][i]).reshape(12, -1).max(1) for i in (0, 1))
    assert sure.max() == 0  # without slip the future is certain
    assert noisy[:CONTEXT].max() == 0
    assert noisy[CONTEXT:].max() > 30  # with slip it is blurred


@pytest.mark.parametrize("make", [HardTheta, PictureEnv, lambda: waker_envs.make("waker/GridHazards-v0")])
def test_every_kind_of_observation_makes_a_strip(make: object) -> None:
    assert callable(make)
    env = make()
    spec = spec_of(env)
    torch.manual_seed(0)
    strip = film(Setup(family_of(make), EvalConfig()), WorldModel(spec, tiny().model), clips=3, samples=4)
    assert strip["real"].shape == strip["imagined"].shape
    assert strip["real"].dtype == strip["imagined"].dtype == np.uint8
    assert (strip["theta"][-1] == env.theta_space.hardest).all()
    assert [str(n) for n in strip["names"]] == list(env.theta_space.names)
