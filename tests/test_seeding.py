"""Streams of chance: one a purpose, continued from their state, untouched by what runs beside them."""

from __future__ import annotations

import numpy as np
import torch

from waker.seeding import Streams, generator_for, preserved_torch, seed_for, stream


def test_streams_are_those_of_numpys_seed_sequences() -> None:
    streams = Streams.from_seed(5)
    for position, name in enumerate(("episodes", "curriculum", "replay", "actions")):
        expected = np.random.default_rng(np.random.SeedSequence(5).spawn(position + 1)[-1]).random(4)
        assert np.array_equal(getattr(streams, name).random(4), expected)


def test_one_streams_use_does_not_move_another() -> None:
    a, b = Streams.from_seed(1), Streams.from_seed(1)
    a.replay.random(100)
    assert np.array_equal(a.episodes.random(3), b.episodes.random(3))
    assert not np.array_equal(a.actions.random(3), generator_for(2, "actions").random(3))


def test_streams_continue_from_their_state() -> None:
    a, b = Streams.from_seed(1), Streams.from_seed(2)
    a.actions.random(5)
    b.load_state_dict(a.state_dict())
    assert np.array_equal(a.actions.random(5), b.actions.random(5))
    assert np.array_equal(a.episodes.random(5), b.episodes.random(5))


def test_seeds_differ_by_run_purpose_and_part() -> None:
    seeds = {seed_for(s, p, *more) for s in range(5) for p in ("torch", "evaluation") for more in ((), (1,), (2,))}
    assert len(seeds) == 30
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_for(3, "torch") == seed_for(3, "torch")


def test_preserved_torch_leaves_the_stream_and_brings_no_seed_of_its_own() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with preserved_torch():
        assert torch.equal(torch.rand(3), expected)
        torch.manual_seed(1)
    assert torch.equal(torch.rand(3), expected)


def test_streams_of_an_evaluation_are_told_apart_by_name() -> None:
    assert stream(0, "a").integers(2**31) != stream(0, "b").integers(2**31)
    assert stream(3, "dr").integers(2**31) == stream(3, "dr").integers(2**31) == 1641962678  # as it always was
