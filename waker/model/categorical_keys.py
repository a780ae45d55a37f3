"""Several categorical variables with different numbers of classes, as one flat axis and back.

An observation key with classes (7, 7, 3) has V = 3 variables and 17 flat entries. The encoder wants a one-hot vector,
the decoder's loss a log-softmax per variable; both are single gathers whatever V is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from waker.model.distributions import log_softmax


class CategoricalLayout(nn.Module):
    """Index tables for V variables with the given numbers of classes."""

    def __init__(self, classes: tuple[int, ...]) -> None:
        super().__init__()
        widest, total = max(classes), sum(classes)
        variable = [v for v, c in enumerate(classes) for _ in range(c)]
        value = [i for c in classes for i in range(c)]
        start = [sum(classes[:v]) for v in range(len(classes))]
        # Entries past a variable's last class point at column `total`, which holds −inf.
        padded = [[start[v] + i if i < c else total for i in range(widest)] for v, c in enumerate(classes)]
        self.register_buffer("variable", torch.tensor(variable), persistent=False)
        self.register_buffer("value", torch.tensor(value), persistent=False)
        self.register_buffer("padded", torch.tensor(padded), persistent=False)
        self.shape = (len(classes), widest)
        self.even = len(set(classes)) == 1  # nothing to pad
        self.variable: Tensor
        self.value: Tensor
        self.padded: Tensor

    def onehot(self, values: Tensor) -> Tensor:
        """Integers (..., V) → one-hot floats (..., Σ classes)."""
        return (values.long().index_select(-1, self.variable) == self.value).float()

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Flat logits (..., Σ classes) → log probabilities (..., V, widest), −1e9 past a variable's last class."""
        if not self.even:
            logits = F.pad(logits, (0, 1), value=-1e9).index_select(-1, self.padded.flatten())
        return log_softmax(logits.unflatten(-1, self.shape))

    def nll(self, logits: Tensor, values: Tensor) -> Tensor:
        """Cross-entropy summed over the variables: (..., Σ classes), (..., V) → (...)."""
        chosen = self.log_probabilities(logits).gather(-1, values.long().unsqueeze(-1))
        return -chosen.squeeze(-1).sum(-1)
