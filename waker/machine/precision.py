"""bf16 where it is safe: autocast around the forward passes of networks, float32 for all that is made of their outputs.

With ``train.precision = "bf16"`` matrix products and convolutions run in bfloat16. Every network ends in
:func:`float32`, so log probabilities, divergences, losses, returns, the carried recurrent state, disagreement and
credit are computed from float32 tensors; on those autocast changes nothing, for no matrix product is left among them.
Weights, gradients and optimisers are float32 throughout.

``tf32`` is a setting of the whole process, made by :func:`use_tf32` before an agent is built.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


class Precision:
    """``with precision():`` around forward passes; never around the differentiation of what they made.

    Args:
        choice: ``bf16``; with ``fp32`` and ``tf32`` nothing is changed here.
        device: where the tensors are. The ``meta`` device has no autocast: there bf16 is float32.
    """

    def __init__(self, choice: str = "fp32", device: torch.device | str = "cpu") -> None:
        self.device_type = torch.device(device).type
        self.lowered = choice == "bf16" and self.device_type != "meta"

    def __call__(self) -> AbstractContextManager[object]:
        """A fresh context."""
        if not self.lowered:
            return nullcontext()
        # No cache of cast weights: one made without gradient would be found again where a gradient is needed, and in a
        # CUDA graph it would outlive the weights it was cast from.
        return torch.autocast(self.device_type, torch.bfloat16, cache_enabled=False)


def float32(output: Tensor) -> Tensor:
    """A network's output in float32 at least: lower precision is raised to it, float32 and float64 are passed on."""
    return output if output.dtype == torch.float64 else output.float()


def use_tf32(use: bool) -> None:
    """Let this process's CUDA products and convolutions round float32 inputs to TF32, or not.

    torch's own default is half of each: exact products, and convolutions in TF32.
    """
    torch.backends.cuda.matmul.allow_tf32 = use
    torch.backends.cudnn.allow_tf32 = use
