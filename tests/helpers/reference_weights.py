"""The authors' weight names and layouts, as views of our modules' parameters.

Dense kernels (in, out); convolutions (h, w, in, out); transposed convolutions (h, w, out, in).
:func:`bindings` names one view per array of a reference file; copying into and reading from the views is all there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from waker.agent.agent import Agent
from waker.model.nets import MLP, StackedMLP
from waker.model.pictures import ImageDecoder, ImageEncoder
from waker.protocols import EXPLORER

Binding = tuple[str, Tensor]


def _dense(name: str, layer: nn.Linear) -> Iterator[Binding]:
    yield f"{name}/kernel", layer.weight.T
    yield f"{name}/bias", layer.bias


def _mlp(name: str, mlp: MLP) -> Iterator[Binding]:
    for i, layer in enumerate(mlp.hidden):
        assert isinstance(layer, nn.Linear)
        yield from _dense(f"{name}/dense{i}", layer)


def _member(name: str, stack: StackedMLP, k: int, outs: tuple[str, ...] = ("out",)) -> Iterator[Binding]:
    """Member k of a stack; the last layer may be several of theirs side by side."""
    for i, layer in enumerate(stack.hidden):
        yield f"{name}/dense{i}/kernel", layer.weight[k]
        yield f"{name}/dense{i}/bias", layer.bias[k, 0]
    for out, kernel, bias in zip(
        outs, stack.out.weight[k].chunk(len(outs), -1), stack.out.bias[k, 0].chunk(len(outs), -1), strict=True
    ):
        yield f"{name}/out/{out}/kernel", kernel
        yield f"{name}/out/{out}/bias", bias


def _image_encoder(encoder: ImageEncoder) -> Iterator[Binding]:
    for i, conv in enumerate(encoder.convs):
        yield f"encoder/conv{i}/kernel", conv.weight.permute(2, 3, 1, 0)  # out in h w -> h w in out
        yield f"encoder/conv{i}/bias", conv.bias


def _image_decoder(decoder: ImageDecoder) -> Iterator[Binding]:
    yield from _dense("head_decoder/convin", decoder.project)
    for i, conv in enumerate(decoder.convs):
        yield f"head_decoder/conv{i}/kernel", conv.weight.permute(2, 3, 1, 0)  # in out h w -> h w out in
        yield f"head_decoder/conv{i}/bias", conv.bias


def bindings(agent: Agent) -> Iterator[Binding]:
    """Every weight of the agent under its name in a reference file, as a view that can be written to."""
    model, rssm = agent.model, agent.model.rssm
    for encoder in model.encoder.images.values():
        yield from _image_encoder(encoder)
    if model.encoder.mlp is not None:
        yield from _mlp("encoder", model.encoder.mlp)
    dense = {"img_in": rssm.img_in, "gru_dense": rssm.gru, "img_out_0": rssm.img_out, "img_dist_0": rssm.img_dist}
    dense |= {"obs_out": rssm.obs_out, "obs_dist": rssm.obs_dist}
    for name, layer in dense.items():
        yield from _dense(f"rssm/{name}", layer)
    yield "rssm/gru_norm/gamma", rssm.gru_norm.weight
    yield "rssm/gru_norm/beta", rssm.gru_norm.bias
    for decoder in model.decoder.images.values():
        yield from _image_decoder(decoder)
    if model.decoder.mlp is not None:
        yield from _mlp("head_decoder", model.decoder.mlp)
        for name, layer in model.decoder.outs.items():
            yield from _dense(f"head_decoder/dense_{name}/out", layer)
    policies = agent.policy_learner.policies
    actor_outs = ("out",) if policies.discrete else ("out", "std")
    for k, task in enumerate(agent.spec.tasks):
        yield from _member(f"head_reward_{task}", model.rewards.net, k)
    for k, name in enumerate(policies.names):
        prefix = "expl" if name == EXPLORER else f"task/{name}"
        yield from _member(f"{prefix}/actor", policies.actor, k, actor_outs)
        yield from _member(f"{prefix}/critic", policies.critic.net, k)
        yield from _member(f"{prefix}/slow", policies.slow.net, k)
    for k in range(agent.config.explorer.heads):
        yield from _member(f"ens{k}", agent.ensemble.net, k)


@torch.no_grad()
def copy_weights(agent: Agent, weights: Mapping[str, NDArray[Any]]) -> None:
    """Copy every array of a file into the agent.

    Raises:
        AssertionError: a weight of ours that the file lacks, or of another shape.
    """
    for name, view in bindings(agent):
        assert name in weights, f"the file has no {name}"
        assert tuple(view.shape) == weights[name].shape, f"{name}: {tuple(view.shape)} against {weights[name].shape}"
        view.copy_(torch.as_tensor(weights[name]))


@torch.no_grad()
def read_weights(agent: Agent) -> dict[str, NDArray[np.float32]]:
    """Every weight under its name in a reference file."""
    return {name: view.numpy(force=True).copy() for name, view in bindings(agent)}
