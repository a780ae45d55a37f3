"""Observations → embedding: convolutions for images, one MLP for vectors and one-hot categorical variables."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from waker.config import ModelConfig
from waker.errors import UserError
from waker.model.categorical_keys import CategoricalLayout
from waker.model.distributions import symlog
from waker.model.nets import ACTIVATIONS, MLP, Norm, glorot_convolution_
from waker.precision import float32
from waker.spaces import ObservationKey


def image_to_float(image: Tensor) -> Tensor:
    """uint8 (..., h, w, c) → float in [−0.5, 0.5], same layout."""
    return image.float() / 255.0 - 0.5


def conv_output(size: int, kernels: tuple[int, ...]) -> int:
    """The side left of a picture of side ``size`` after unpadded stride-2 convolutions."""
    for kernel in kernels:
        size = (size - kernel) // 2 + 1
    return size


class ImageEncoder(nn.Module):
    """Unpadded stride-2 convolutions, channels depth·(1, 2, 4, …), flattened height-width-channel."""

    def __init__(self, key: ObservationKey, config: ModelConfig) -> None:
        super().__init__()
        height, width, channels = key.shape
        sizes = [channels, *(config.cnn_depth * 2**i for i in range(len(config.encoder_kernels)))]
        kernels = config.encoder_kernels
        convs = [nn.Conv2d(i, o, k, stride=2) for i, o, k in zip(sizes, sizes[1:], kernels, strict=False)]
        for conv in convs:
            glorot_convolution_(conv)
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(Norm(config.norm, (o,)) for o in sizes[1:])
        self.act = ACTIVATIONS[config.act]
        rows, columns = conv_output(height, config.encoder_kernels), conv_output(width, config.encoder_kernels)
        if rows < 1 or columns < 1:
            raise UserError(
                f"image {key.name!r}: {height}×{width} is too small for model.encoder_kernels {config.encoder_kernels}"
            )
        self.out_features = rows * columns * sizes[-1]

    def forward(self, image: Tensor) -> Tensor:
        """uint8 (n, h, w, c) → (n, features)."""
        x = image_to_float(image).permute(0, 3, 1, 2)  # n h w c -> n c h w
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv(x)
            if norm.kind != "none":
                x = norm(x.movedim(1, -1)).movedim(-1, 1)  # normalise over channels
            x = self.act(x)
        return x.permute(0, 2, 3, 1).flatten(1)  # n c h w -> n (h w c)


class Encoder(nn.Module):
    """All observation keys → one embedding: (images …, MLP of vectors and categoricals)."""

    def __init__(self, keys: tuple[ObservationKey, ...], config: ModelConfig) -> None:
        super().__init__()
        self.keys, self.symlog = keys, config.symlog
        images = {k.name: ImageEncoder(k, config) for k in keys if k.kind == "image"}
        self.images = nn.ModuleDict(images)
        self.layouts = nn.ModuleDict({k.name: CategoricalLayout(k.classes) for k in keys if k.kind == "categorical"})
        flat = sum(k.size for k in keys if k.kind != "image")
        self.mlp = MLP(flat, config.encoder_units, None, config.act, config.norm) if flat else None
        self.out_features = sum(e.out_features for e in images.values())
        self.out_features += self.mlp.out_features if self.mlp is not None else 0

    @property
    def image_sizes(self) -> dict[str, int]:
        """The entries of the embedding that belong to each image, in order; they come first."""
        sizes = {}
        for name, encoder in self.images.items():
            assert isinstance(encoder, ImageEncoder)
            sizes[name] = encoder.out_features
        return sizes

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Keys with any leading shape (…) → embedding (…, embedding)."""
        parts: list[Tensor] = []
        lead = observation[self.keys[0].name].shape[: -len(self.keys[0].shape) or None]
        for name, image_encoder in self.images.items():
            parts.append(image_encoder(observation[name].flatten(0, len(lead) - 1)).unflatten(0, lead))
        if self.mlp is not None:
            parts.append(self.mlp(torch.cat([self._flat(k, observation[k.name]) for k in self._vector_keys], -1)))
        return float32(torch.cat(parts, -1))

    @property
    def _vector_keys(self) -> list[ObservationKey]:
        return [k for k in self.keys if k.kind != "image"]

    def _flat(self, key: ObservationKey, value: Tensor) -> Tensor:
        if key.kind == "categorical":
            layout = self.layouts[key.name]
            assert isinstance(layout, CategoricalLayout)
            return layout.onehot(value)
        flat = value.float().flatten(value.dim() - len(key.shape)) if key.shape else value.float().unsqueeze(-1)
        return symlog(flat) if self.symlog else flat
