"""Several categorical variables with different numbers of classes, as one flat axis and back.

An observation key with classes (7, 7, 3) has V = 3 variables and 17 flat entries. The encoder wants a one-hot vector,
the decoder's loss a log-softmax per variable; both take as many operations whatever V is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class CategoricalLayout(nn.Module):
    """Index tables for V variables with the given numbers of classes."""

    def __init__(self, classes: tuple[int, ...]) -> None:
        super().__init__()
        widest, total = max(classes), sum(classes)
        variable = [v for v, c in enumerate(classes) for _ in range(c)]
        value = [i for c in classes for i in range(c)]
        start = [sum(classes[:v]) for v in range(len(classes))]
        # Entries past a variable's last class point at entry `total`, which holds −1e9.
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
        by_class = F.log_softmax(self.by_class(logits), 1)  # (V, widest, n)
        return rearrange(by_class, "v c n -> n v c").reshape(*logits.shape[:-1], *self.shape)

    def by_class(self, logits: Tensor) -> Tensor:
        """Flat logits (..., Σ classes) as (V, widest, n), states last, −1e9 past a variable's last class.

        A variable has few classes and there are many states: sums over classes are then sums of long rows, several
        times faster on a CPU than sums along a short last axis.
        """
        rows = logits.reshape(-1, logits.shape[-1]).T
        if not self.even:
            rows = F.pad(rows, (0, 0, 0, 1), value=-1e9).index_select(0, self.padded.flatten())
        return rearrange(rows.contiguous(), "(v c) n -> v c n", c=self.shape[1])

    def nll(self, logits: Tensor, values: Tensor) -> Tensor:
        """Cross-entropy summed over the variables: (..., Σ classes), (..., V) → (...)."""
        truth = values.reshape(-1, self.shape[0]).T.long()  # ... v -> v n
        losses = F.cross_entropy(self.by_class(logits), truth, reduction="none")  # (V, n)
        return losses.sum(0).view(values.shape[:-1])
