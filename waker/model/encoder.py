"""Observations → embedding: convolutions for images, one MLP for vectors and one-hot categorical variables."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from waker.config.schema import ModelConfig
from waker.errors import UserError
from waker.machine import products
from waker.machine.precision import float32
from waker.model.categorical import CategoricalLayout
from waker.model.distributions import symlog
from waker.model.nets import ACTIVATIONS, MLP, Norm, glorot_convolution_
from waker.specs import ObservationKey


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
            x = few_windows(conv, x) if has_few_windows(conv, x) else conv(x)
            if norm.kind != "none":
                x = norm(x.movedim(1, -1)).movedim(-1, 1)  # normalise over channels
            x = self.act(x)
        return x.permute(0, 2, 3, 1).flatten(1)  # n c h w -> n (h w c)


def has_few_windows(conv: nn.Module, x: Tensor) -> bool:
    """Whether the library's convolution is slow on a CPU (2.5 times the matmul): many channels, few pixels result."""
    assert isinstance(conv, nn.Conv2d)
    side = conv_output(max(x.shape[-2:]), conv.kernel_size[:1])
    return x.device.type == "cpu" and side <= 2 and conv.in_channels >= 128


def few_windows(conv: nn.Module, x: Tensor) -> Tensor:
    """An unpadded stride-2 convolution as one matmul over copied windows, n c h w -> n o y x."""
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    (high, wide), picture = conv.kernel_size, x.permute(0, 2, 3, 1)
    rows, columns = (conv_output(size, (k,)) for size, k in zip(x.shape[-2:], conv.kernel_size, strict=True))
    bands = torch.stack([picture[:, 2 * i : 2 * i + high] for i in range(rows)], 1)  # n y h w c
    windows = torch.stack([bands[:, :, :, 2 * j : 2 * j + wide] for j in range(columns)], 2)  # n y x h w c
    kernel = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)  # o c h w -> (h w c) o
    flat = products.affine(windows.flatten(3).flatten(0, 2), kernel, conv.bias)  # (n y x) o
    return flat.unflatten(0, windows.shape[:3]).permute(0, 3, 1, 2)


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
