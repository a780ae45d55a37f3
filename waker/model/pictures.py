"""Networks of pictures, in and out; made by :class:`waker.model.observations.image.Image`."""

from __future__ import annotations

from typing import cast

from einops import rearrange
from torch import Tensor, nn

from waker.config.schema import ModelConfig
from waker.errors import UserError
from waker.machine import kernels
from waker.machine.precision import float32
from waker.model.nets import ACTIVATIONS, Linear, Norm, glorot_convolution_
from waker.specs import ObservationKey


def image_to_float(image: Tensor) -> Tensor:
    """uint8 (..., h, w, c) → float in [−0.5, 0.5], same layout."""
    return image.float() / 255.0 - 0.5


class ImageEncoder(nn.Module):
    """Unpadded stride-2 convolutions, channels depth·(1, 2, 4, …), flattened height-width-channel."""

    def __init__(self, key: ObservationKey, config: ModelConfig) -> None:
        super().__init__()
        height, width, channels = key.shape
        sizes = [channels, *(config.cnn_depth * 2**i for i in range(len(config.encoder_kernels)))]
        widths = config.encoder_kernels
        convs = [nn.Conv2d(i, o, k, stride=2) for i, o, k in zip(sizes, sizes[1:], widths, strict=False)]
        for conv in convs:
            glorot_convolution_(conv)
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(Norm(config.norm, (o,)) for o in sizes[1:])
        self.act = ACTIVATIONS[config.act]
        rows, columns = (kernels.conv_output(side, config.encoder_kernels) for side in (height, width))
        if rows < 1 or columns < 1:
            raise UserError(
                f"image {key.name!r}: {height}×{width} is too small for model.encoder_kernels {config.encoder_kernels}"
            )
        self.out_features = rows * columns * sizes[-1]

    def forward(self, image: Tensor) -> Tensor:
        """uint8 (n, h, w, c) → (n, features)."""
        x = rearrange(image_to_float(image), "n h w c -> n c h w")
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = kernels.convolved(cast(nn.Conv2d, conv), x)
            if norm.kind != "none":
                x = rearrange(norm(rearrange(x, "n c h w -> n h w c")), "n h w c -> n c h w")
            x = self.act(x)
        return rearrange(x, "n c h w -> n (h w c)")


class ImageDecoder(nn.Module):
    """A linear layer to 1×1×(32·depth), then unpadded stride-2 transposed convolutions to the picture."""

    def __init__(self, key: ObservationKey, config: ModelConfig, feature_dim: int) -> None:
        super().__init__()
        height, width, channels = key.shape
        widths, depth = config.decoder_kernels, config.cnn_depth
        side = 1
        for kernel in widths:
            side = 2 * (side - 1) + kernel
        if (height, width) != (side, side):
            raise UserError(
                f"image {key.name!r} is {height}×{width}, but model.decoder_kernels {widths} make {side}×{side}"
            )
        sizes = [32 * depth, *(depth * 2**i for i in reversed(range(len(widths) - 1))), channels]
        self.project = Linear(feature_dim, sizes[0])
        convs = [nn.ConvTranspose2d(i, o, k, stride=2) for i, o, k in zip(sizes, sizes[1:], widths, strict=False)]
        for conv in convs:
            glorot_convolution_(conv)
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(Norm(config.norm, (o,)) for o in sizes[1:-1])
        self.act = ACTIVATIONS[config.act]

    def forward(self, feature: Tensor) -> Tensor:
        """(n, F) → (n, h, w, c), in the scale of :func:`image_to_float`."""
        x = self.project(feature)
        for i, (conv, norm) in enumerate(zip(self.convs[:-1], self.norms, strict=True)):
            x = conv(x) if i else kernels.deconvolved(cast(nn.ConvTranspose2d, conv), x)
            if norm.kind != "none":
                x = rearrange(norm(rearrange(x, "n c h w -> n h w c")), "n h w c -> n c h w")
            x = self.act(x)
        return rearrange(float32(self.convs[-1](x)), "n c h w -> n h w c")
