"""Counts of work: against hand-computed ones, and the same with and without values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.bench.configs import WALKER, Workload, workload
from tests.helpers.tiny_learner import tiny_config, tiny_spec
from waker.agent.agent import Agent
from waker.collection.synthetic import synthetic_replay
from waker.machine.operations import OperationCounter
from waker.replay.feed import Feed
from waker.training.update_work import Work, update_work, work_of


def test_a_linear_layers_work_is_counted_by_hand() -> None:
    layer, x = torch.nn.Linear(3, 5, bias=False), torch.ones(7, 3)
    # 7 rows, 3 × 5 products and sums: once forward, once for the weights; nobody asks for the input's gradient.
    work = work_of(lambda: torch.autograd.grad(layer(x).sum(), layer.weight))
    assert work.flop == 2 * (2 * 7 * 3 * 5)


def test_an_inputs_gradient_is_work_of_its_own() -> None:
    layer, x = torch.nn.Linear(3, 5, bias=False), torch.ones(7, 3, requires_grad=True)
    work = work_of(lambda: torch.autograd.grad(layer(x).sum(), [x, layer.weight]))
    assert work.flop == 3 * (2 * 7 * 3 * 5)


def test_a_batched_matmul_counts_every_member() -> None:
    a, b = torch.ones(4, 2, 3), torch.ones(4, 3, 5)
    assert work_of(lambda: torch.bmm(a, b)) == Work(4 * 2 * 2 * 3 * 5, 1)


def test_operations_are_counted_one_by_one() -> None:
    x = torch.ones(3)
    assert work_of(lambda: (x + 1.0).relu().sum()).operations == 3


def test_the_meta_device_counts_what_the_host_does() -> None:
    chosen: Workload = workload("tiny")
    spec, _ = chosen.resolved()
    train = chosen.config.train
    agent = Agent(spec, chosen.config)
    batch = Feed(synthetic_replay(spec, 1, 64, 3), np.random.default_rng(0), train.batch, train.length, "cpu").next()
    here, meta = work_of(lambda: agent.update(batch)), update_work(spec, chosen.config)
    assert here.flop == meta.flop
    # Whether a view needs a copy is a matter of strides, which the two do not choose alike everywhere.
    assert here.operations == pytest.approx(meta.operations, rel=0.02)


def test_counting_leaves_chance_alone() -> None:
    before = torch.get_rng_state()
    update_work(workload("tiny").resolved()[0], workload("tiny").config)
    assert torch.equal(before, torch.get_rng_state())


def test_the_walker_has_the_papers_tasks_and_thetas() -> None:
    assert len(WALKER.tasks) == 5
    assert workload("paper-walker").thetas == 21 * 37


def test_the_operations_of_an_update_are_those_that_it_dispatches() -> None:
    spec, config = tiny_spec(), tiny_config("laptop")
    work = update_work(spec, config)
    with torch.device("meta"):
        agent = Agent(spec, config, "meta")
    train = config.train
    drawn = synthetic_replay(spec, 1, train.length, 1).sample(np.random.default_rng(0), train.batch, train.length)
    batch = {name: torch.from_numpy(array).to("meta") for name, array in drawn.items()}
    called = OperationCounter()
    with called:
        agent.update(batch)
    assert work.operations == called.operations > 1000
