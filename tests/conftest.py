"""What all tests share: one torch thread, each with its own products, and one small finished run to copy or read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from waker.model import products

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def products_as_before() -> Iterator[None]:
    """Who multiplies is a setting of the process: no test leaves it to the next."""
    before = products.used()
    yield
    products.use(before)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``runs`` with one finished run of the ``tiny`` preset, policies trained afterwards. Copy it to change it."""
    from waker.cli import main

    runs = tmp_path_factory.mktemp("finished") / "runs"
    assert main(["train", "--preset", "tiny", "--train.task-policies", "after", "--runs", str(runs)]) == 0
    return runs
