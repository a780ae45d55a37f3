"""Features → observations, with a likelihood per key: the signal that shapes the latent state."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from waker.config.schema import ModelConfig
from waker.errors import UserError
from waker.machine import products
from waker.machine.precision import float32
from waker.model.categorical import CategoricalLayout
from waker.model.distributions import gaussian_nll, symexp, symlog
from waker.model.encoder import image_to_float
from waker.model.nets import ACTIVATIONS, MLP, Linear, Norm, glorot_convolution_
from waker.specs import ObservationKey


class ImageDecoder(nn.Module):
    """A linear layer to 1×1×(32·depth), then unpadded stride-2 transposed convolutions to the picture."""

    def __init__(self, key: ObservationKey, config: ModelConfig, feature_dim: int) -> None:
        super().__init__()
        height, width, channels = key.shape
        kernels, depth = config.decoder_kernels, config.cnn_depth
        side = 1
        for kernel in kernels:
            side = 2 * (side - 1) + kernel
        if (height, width) != (side, side):
            raise UserError(
                f"image {key.name!r} is {height}×{width}, but model.decoder_kernels {kernels} make {side}×{side}"
            )
        sizes = [32 * depth, *(depth * 2**i for i in reversed(range(len(kernels) - 1))), channels]
        self.project = Linear(feature_dim, sizes[0])
        convs = [nn.ConvTranspose2d(i, o, k, stride=2) for i, o, k in zip(sizes, sizes[1:], kernels, strict=False)]
        for conv in convs:
            glorot_convolution_(conv)
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(Norm(config.norm, (o,)) for o in sizes[1:-1])
        self.act = ACTIVATIONS[config.act]

    def forward(self, feature: Tensor) -> Tensor:
        """(n, F) → (n, h, w, c), in the scale of :func:`image_to_float`."""
        x = self.project(feature)
        for i, (conv, norm) in enumerate(zip(self.convs[:-1], self.norms, strict=True)):
            x = conv(x) if i else self._spread(x)
            if norm.kind != "none":
                x = norm(x.movedim(1, -1)).movedim(-1, 1)
            x = self.act(x)
        return float32(self.convs[-1](x)).permute(0, 2, 3, 1)  # n c h w -> n h w c

    def _spread(self, x: Tensor) -> Tensor:
        """The first transposed convolution, of 1×1 pictures (n, c): one matmul, many times faster on a CPU."""
        weight, bias = self.convs[0].weight, self.convs[0].bias
        assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
        _, out, side, _ = weight.shape
        # Channels last, in which the CPU's convolutions are quickest and the picture is wanted in the end.
        flat = weight.permute(0, 2, 3, 1).flatten(1)  # c o k k -> c (k k o)
        spread = products.affine(x, flat, bias.repeat(side * side))
        return spread.unflatten(1, (side, side, out)).permute(0, 3, 1, 2)  # n (k k o) -> n o k k


class Reconstruction(nn.Module):
    """What every decoder does with its outputs: likelihoods, and observations in their own terms.

    A subclass makes the outputs, one for each key: an image's or vector's mean in the model's scale, (…, *shape), or
    flat logits.
    """

    def __init__(self, keys: tuple[ObservationKey, ...], config: ModelConfig) -> None:
        super().__init__()
        self.keys, self.symlog = keys, config.symlog
        self.layouts = nn.ModuleDict({k.name: CategoricalLayout(k.classes) for k in keys if k.kind == "categorical"})

    @property
    def seen_dim(self) -> int:
        """Size D of :meth:`seen`; 0 where all that is observed are pictures."""
        sizes = (math.prod(self.layout(k.name).shape) if k.kind == "categorical" else k.size for k in self.keys)
        return sum(size for size, key in zip(sizes, self.keys, strict=True) if key.kind != "image")

    def seen(self, feature: Tensor) -> Tensor:
        """What features (…, F) look like, (…, D): probabilities of categories and vectors, without pictures."""
        parts = []
        for name, x in self.without_pictures(feature).items():
            parts.append(self.layout(name).log_probabilities(x).exp().flatten(-2) if name in self.layouts else x)
        return torch.cat(parts, -1)

    def without_pictures(self, feature: Tensor) -> dict[str, Tensor]:
        """The outputs of all keys that are no pictures, for features (…, F)."""
        raise NotImplementedError

    def nll(self, decoded: Mapping[str, Tensor], observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """−log likelihood of each key, summed over its event dimensions and not weighted: (…)."""
        losses = {}
        for key in self.keys:
            out, target = decoded[key.name], observation[key.name]
            if key.kind == "categorical":
                losses[key.name] = self.layout(key.name).nll(out, target)
            elif key.kind == "image":
                losses[key.name] = gaussian_nll(out, image_to_float(target)).flatten(-3).sum(-1)
            else:
                flat = target.float().reshape(out.shape)
                losses[key.name] = gaussian_nll(out, symlog(flat) if self.symlog else flat).sum(-1)
        return losses

    def layout(self, name: str) -> CategoricalLayout:
        """Index tables of a categorical key."""
        layout = self.layouts[name]
        assert isinstance(layout, CategoricalLayout)
        return layout

    def predict(self, decoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Decoder outputs in the observation's own terms.

        Images in [0, 1] (…, h, w, c); vectors in their units (…, size); categoricals as probabilities (…, V, widest).
        """
        result = {}
        for key in self.keys:
            out = decoded[key.name]
            if key.kind == "categorical":
                result[key.name] = self.layout(key.name).log_probabilities(out).exp()
            elif key.kind == "image":
                result[key.name] = (out + 0.5).clamp(0.0, 1.0)
            else:
                result[key.name] = symexp(out) if self.symlog else out
        return result


class Decoder(Reconstruction):
    """One output per observation key; ``nll`` is the reconstruction loss of each."""

    def __init__(self, keys: tuple[ObservationKey, ...], config: ModelConfig, feature_dim: int) -> None:
        super().__init__(keys, config)
        flat = [k for k in keys if k.kind != "image"]
        self.images = nn.ModuleDict({k.name: ImageDecoder(k, config, feature_dim) for k in keys if k.kind == "image"})
        self.mlp = MLP(feature_dim, config.decoder_units, None, config.act, config.norm) if flat else None
        hidden = self.mlp.out_features if self.mlp is not None else 0
        self.outs = nn.ModuleDict({k.name: Linear(hidden, k.size) for k in flat})

    def forward(self, feature: Tensor) -> dict[str, Tensor]:
        """Per key, for features (…, F): image or vector mean in the model's scale, (…, *shape), or flat logits."""
        lead = feature.shape[:-1]
        decoded = {name: decoder(feature.flatten(0, -2)).unflatten(0, lead) for name, decoder in self.images.items()}
        return decoded | (self.without_pictures(feature) if self.mlp is not None else {})

    def without_pictures(self, feature: Tensor) -> dict[str, Tensor]:
        """See :meth:`Reconstruction.without_pictures`."""
        assert self.mlp is not None
        hidden = self.mlp(feature)
        return {name: float32(out(hidden)) for name, out in self.outs.items()}


def weighted(losses: Mapping[str, Tensor], keys: tuple[ObservationKey, ...]) -> Tensor:
    """Σ over keys of weight × mean loss."""
    return torch.stack([k.weight * losses[k.name].mean() for k in keys]).sum()
