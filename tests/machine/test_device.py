"""Devices that torch does not have here are refused in one line, which says what would help."""

from __future__ import annotations

import pytest
import torch

from waker.errors import UserError
from waker.machine.device import checked_device


@pytest.mark.parametrize(("cuda", "helps"), [(None, True), ("12.4", False)])
def test_a_gpu_on_a_build_without_cuda_names_the_cure(
    cuda: str | None, helps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_here(*_: object, **__: object) -> None:
        raise AssertionError("no such device")

    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch, "empty", none_here)
    with pytest.raises(UserError, match=r"device 'cuda' cannot be used \(no such device\)") as refused:
        checked_device("cuda")
    assert ("CUDA build of torch" in str(refused.value)) == helps
