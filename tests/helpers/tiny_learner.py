"""The smallest specs, configurations and batches for tests of the learner, on any device."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from waker.config.presets import preset
from waker.config.schema import Config
from waker.specs import ActionSpec, EnvSpec, ObservationKey

IMAGE = ObservationKey("image", "image", (10, 10, 3), "uint8", weight=0.5)
VECTOR = ObservationKey("vector", "vector", (2, 3), "float32")
CATEGORICAL = ObservationKey("cells", "categorical", (3,), "uint8", (5, 2, 3), 2.0)
KEYS = {"image": IMAGE, "vector": VECTOR, "categorical": CATEGORICAL}
ALL_KINDS = ("image", "vector", "categorical")


def tiny_spec(*, kinds: tuple[str, ...] = ("categorical",), discrete: bool = True, tasks: int = 2) -> EnvSpec:
    """An environment's spec with the given kinds of observation keys."""
    action = ActionSpec(4, True) if discrete else ActionSpec(2, False, (-1.0, -2.0), (1.0, 2.0))
    names = tuple(f"task{k}" for k in range(tasks))
    return EnvSpec("waker/Tiny-v0", tuple(KEYS[kind] for kind in kinds), action, names)


def tiny_config(recipe: str = "tiny", *, after: bool = False, heads: int = 3) -> Config:
    """A preset's recipe at the smallest size; ``recipe`` names the preset."""
    base, small = preset(recipe), (12, 12)
    model = replace(
        base.model,
        deter=10,
        hidden=12,
        stoch=3,
        classes=4,
        cnn_depth=2,
        encoder_kernels=(4, 4),
        decoder_kernels=(4, 4),
        encoder_units=small,
        decoder_units=small,
        head_units=small,
        bins=11,
        bins_limit=3.0,
    )
    behaviour = replace(base.behaviour, horizon=4, starts=0, actor_units=small, critic_units=small)
    explorer = replace(base.explorer, heads=heads, units=small)
    train = replace(base.train, task_policies="after" if after else "online", adapt_heads=0)
    return replace(base, model=model, behaviour=behaviour, explorer=explorer, train=train)


def tiny_batch(spec: EnvSpec, b: int = 3, t: int = 6, seed: int = 0) -> dict[str, Tensor]:
    """A batch (B, T) of arbitrary data with one episode's end (terminal) inside the first sequence."""
    rng = torch.Generator().manual_seed(seed)
    batch: dict[str, Tensor] = {}
    for key in spec.observation:
        if key.kind == "image":
            batch[key.name] = torch.randint(256, (b, t, *key.shape), generator=rng, dtype=torch.uint8)
        elif key.kind == "vector":
            batch[key.name] = 3.0 * torch.randn((b, t, *key.shape), generator=rng)
        else:
            columns = [torch.randint(c, (b, t), generator=rng, dtype=torch.uint8) for c in key.classes]
            batch[key.name] = torch.stack(columns, -1)
    if spec.action.discrete:
        index = torch.randint(spec.action.dim, (b, t), generator=rng)
        batch["action"] = torch.nn.functional.one_hot(index, spec.action.dim).float()
    else:
        batch["action"] = 2.0 * torch.rand((b, t, spec.action.dim), generator=rng) - 1.0
    first = torch.zeros(b, t, dtype=torch.bool)
    first[:, 0] = True
    terminal = torch.zeros_like(first)
    terminal[0, 2], first[0, 3] = True, True
    batch["action"][first] = 0.0
    rewards = torch.randn((b, t, len(spec.tasks)), generator=rng)
    batch |= {"is_first": first, "is_terminal": terminal, "is_last": terminal.clone(), "task_rewards": rewards}
    batch["theta_id"] = torch.arange(b, dtype=torch.int32).unsqueeze(1).repeat(1, t)
    return batch
