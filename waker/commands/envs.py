"""``waker envs``: which environments there are, and what the parameters θ of one mean."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from waker.commands.arguments import parse
from waker.errors import UserError

if TYPE_CHECKING:
    from waker_envs.api import ParametricEnv


@dataclass(frozen=True)
class EnvsArgs:
    """List the environments, or describe one: its θ space, tasks, spaces and suites."""

    env: Annotated[str, tyro.conf.Positional] = ""
    """Environment id, short names too (GridHazards); none = list all."""
    theta: tuple[float, ...] = ()
    """One point θ: its place in the space, and the best possible returns of one of its episodes."""
    seed: int = 0
    """Seed of that episode."""


def listing() -> str:
    """Every registered family in one line each: id, number of θ and tasks."""
    import waker_envs

    rows = []
    for env_id in waker_envs.registered_ids():
        try:
            env = _make(env_id)
            space = env.theta_space
            many = "continuous θ" if space.size is None else f"{space.size} θ"
            rows.append((env_id, f"{many} ({', '.join(space.names)})", f"tasks: {', '.join(env.tasks)}"))
            env.close()
        except Exception as error:  # noqa: BLE001 — a broken plug-in must not hide the others
            rows.append((env_id, "", " ".join(str(error).split())))
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows)


def _make(env_id: str) -> ParametricEnv:
    """The environment with its default arguments.

    Raises:
        UnknownEnvError: no such environment.
        UserError: its constructor fails; the message says how.
    """
    import waker_envs

    try:
        return waker_envs.make(env_id)
    except waker_envs.UnknownEnvError:
        raise
    except Exception as error:  # somebody else's code
        raise UserError(f"{env_id} cannot be made: {type(error).__name__}: {error}") from error


def description(env_id: str) -> str:
    """What one family is: its documentation, θ space, tasks and spaces.

    Raises:
        UnknownEnvError: no such environment.
    """
    import waker_envs

    env_id = waker_envs.resolve_id(env_id)
    env = _make(env_id)
    space = env.theta_space
    lines = [env_id, "", inspect.getdoc(type(env)) or "", "", space.describe()]
    if space.hardest is not None:
        lines.append(f"  hardest (by an expert): {space.format(space.hardest)}")
    if len(space.hard):
        lines.append(f"  hard (by an expert): {len(space.hard)} θ")
    exact = [name for name in ("optimal_return", "predict") if hasattr(env, name)]
    lines += [
        "",
        f"tasks: {', '.join(env.tasks)}",
        f"observation: {env.observation_space}",
        f"action: {env.action_space}",
        f"exact: {', '.join(exact) or 'nothing'}",
    ]
    env.close()
    return "\n".join(lines)


def point(env_id: str, theta: Sequence[float], seed: int) -> str:
    """Where θ lies in its space, and what the episode of (seed, θ) is worth.

    Raises:
        UnknownEnvError: no such environment.
        ThetaError: θ is outside the space; the message names the nearest.
    """
    import numpy as np

    import waker_envs

    env = _make(env_id)
    space = env.theta_space
    _, info = env.reset(seed=seed, options={"theta": np.asarray(theta)})
    at = space.index(info["theta"])
    lines = [f"θ = ({space.format(theta)}), id {at}" if at >= 0 else f"θ = ({space.format(theta)})"]
    if isinstance(space, waker_envs.FiniteThetaSpace) and at >= 0:
        lines.append(f"probability under domain randomisation: {space.weights[at]:.3g}")
    if any((abs(hard - info["theta"]) < 1e-9).all() for hard in space.hard):
        lines.append("hard, by an expert")
    optimal = getattr(env, "optimal_return", None)
    if optimal is not None:
        worth = ", ".join(f"{task} {optimal(info['theta'], task, seed):.2f}" for task in env.tasks)
        lines.append(f"best expected return of episode seed {seed}: {worth}")
    env.close()
    return "\n".join(lines)


def command(argv: list[str]) -> int:
    """Run ``waker envs``."""
    args = parse(EnvsArgs, argv, verb="envs")
    if args.theta and not args.env:
        raise UserError("--theta needs the environment it belongs to: waker envs ID --theta …")
    if args.theta:
        print(point(args.env, args.theta, args.seed))
    else:
        print(description(args.env) if args.env else listing())
    return 0
