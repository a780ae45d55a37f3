"""``waker envs``: which environments there are, what the parameters θ of one mean, and what an episode looks like."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from waker.cli.arguments import parse
from waker.cli.constructor_arguments import Scalar, constructor_arguments
from waker.collection.make_env import close, construct
from waker.errors import UserError
from waker.names import path_part, printable
from waker.settings import Count
from waker.terminal.notices import Losses
from waker_envs.foreign import foreign, reason_of

if TYPE_CHECKING:
    from waker_envs.api import ParametricEnv


@dataclass(frozen=True)
class EnvsArgs:
    """List the environments, or describe one: its θ space, tasks, spaces and suites.

    `waker envs show ID` writes a film of an episode (see `waker envs show --help`).
    """

    env: Annotated[str, tyro.conf.Positional] = ""
    """Environment id, short names too (GridHazards); none = list all."""
    theta: tuple[float, ...] = ()
    """One point θ: its place in the space, and the best possible returns of one of its episodes."""
    seed: int = 0
    """Seed of that episode."""


@dataclass(frozen=True)
class ShowArgs:
    """Write a film of one episode of random actions, as an animated GIF."""

    env: Annotated[str, tyro.conf.Positional]
    """Environment id, short names too (TerrainWalker)."""
    theta: tuple[float, ...] = ()
    """The point θ; none = one from domain randomisation."""
    seed: int = 0
    """Seed of the episode and of the actions."""
    steps: Count = 100
    """Agent steps at most."""
    env_kwargs: dict[str, str] = field(default_factory=dict)
    """Constructor arguments of the environment, as `waker train` takes them: `--env-kwargs ground=stairs`."""
    out: Path | None = None
    """The file; default: ID.gif in the current folder."""


def show(args: ShowArgs, given: Mapping[str, Scalar]) -> str:
    """Write the film and say where it is, and of which θ.

    Args:
        given: constructor arguments.

    Raises:
        UnknownEnvError: no such environment.
        ThetaError: θ is outside the space; the message names the nearest.
        UserError: no pictures of this family, or none can be drawn here; or an argument that its constructor does not
            take.
        SaveFailed: the file cannot be written.
    """
    import waker_envs
    from waker.storage.files import atomic, check_writable, saving
    from waker_envs.films import film, frame_rate, write_gif

    env_id = waker_envs.resolve_id(args.env)
    path = (args.out or Path(f"{path_part(env_id.split('/')[-1])}.gif")).absolute()  # now: it may change the directory
    check_writable("the film", path)
    env = construct(args.env, {**given, "render_mode": "rgb_array"})

    def failed(error: BaseException) -> UserError:
        again = f"reset(seed={args.seed}, options={{'theta': {list(args.theta) or None}}})"
        return UserError(f"{env_id} cannot be shown: {reason_of(error)}; reproduce it with {again} and random actions")

    try:
        with foreign(f"{env_id}, a film", failed, (waker_envs.ThetaError,)):  # or there is no renderer
            pictures, theta = film(env, args.theta or None, args.seed, args.steps)
            rate, shown = frame_rate(env), env.theta_space.format(theta)
    finally:
        close(env, env_id)
    with saving(f"the film {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as file:
            write_gif(file, pictures, rate)
    return f"{path}: {len(pictures)} pictures of θ = ({shown}), seed {args.seed}"


def listing() -> str:
    """Every registered family in one line each: id, number of θ and tasks."""
    import waker_envs

    rows = []
    for env_id in waker_envs.registered_ids():
        try:
            env = construct(env_id, {})
            try:
                with _described(env_id):
                    space = env.theta_space
                    many = "continuous θ" if space.size is None else f"{space.size} θ"
                    rows.append((env_id, f"{many} ({', '.join(space.names)})", f"tasks: {', '.join(env.tasks)}"))
            finally:
                close(env, env_id)
        except UserError as error:  # a broken plug-in must not hide the others
            Losses.told += 1
            rows.append((env_id, "", " ".join(str(error).split())))
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return "\n".join(printable(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}") for a, b, c in rows)


def description(env_id: str) -> str:
    """What one family is: its documentation, θ space, tasks and spaces.

    Raises:
        UnknownEnvError: no such environment.
    """
    import waker_envs

    env_id = waker_envs.resolve_id(env_id)
    env = construct(env_id, {})
    try:
        with _described(env_id):
            return _description(env_id, env)
    finally:
        close(env, env_id)


def _described(env_id: str) -> foreign:
    return foreign(
        f"{env_id}, its description", lambda error: UserError(f"{env_id} cannot be described: {reason_of(error)}")
    )


def _description(env_id: str, env: ParametricEnv) -> str:
    from waker_envs.wrapped import WrappedFamily

    space = env.theta_space
    family = env.family if isinstance(env, WrappedFamily) else env
    own = inspect.cleandoc(vars(type(family)).get("__doc__") or "")  # not that of a class that it inherits from
    lines = [env_id, "", *([own, ""] if own else []), space.describe()]
    if space.hardest is not None:
        lines.append(f"  hardest (by an expert): {space.format(space.hardest)}")
    if len(space.hard):
        lines.append(f"  hard (by an expert): {len(space.hard)} θ")
    exact = [name for name in ("optimal_return", "predict", "tabular") if hasattr(env, name)]
    lines += [
        "",
        f"tasks: {', '.join(env.tasks)}",
        f"observation: {env.observation_space}",
        f"action: {env.action_space}",
        f"exact: {', '.join(exact) or 'nothing'}",
    ]
    return "\n".join(lines)


def point(env_id: str, theta: Sequence[float], seed: int) -> str:
    """Where θ lies in its space, and what the episode of (seed, θ) is worth.

    Raises:
        UnknownEnvError: no such environment.
        ThetaError: θ is outside the space; the message names the nearest.
        UserError: the environment fails there.
    """
    import waker_envs

    env = construct(env_id, {})

    def failed(error: BaseException) -> UserError:
        again = f"reset(seed={seed}, options={{'theta': {list(theta)}}})"
        return UserError(f"{env_id} failed: {reason_of(error)}; reproduce it with {again}")

    try:
        with foreign(f"{env_id}, an episode", failed, (waker_envs.ThetaError,)):
            return _point(env, theta, seed)
    finally:
        close(env, env_id)


def _point(env: ParametricEnv, theta: Sequence[float], seed: int) -> str:
    import numpy as np

    import waker_envs

    space = env.theta_space
    _, info = env.reset(seed=seed, options={"theta": np.asarray(theta)})
    at = space.index(info["theta"])
    lines = [f"θ = ({space.format(theta)}), id {at}" if at >= 0 else f"θ = ({space.format(theta)})"]
    if isinstance(space, waker_envs.FiniteThetaSpace) and at >= 0:
        lines.append(f"probability under domain randomisation: {space.weights[at]:.3g}")
    if any((abs(hard - info["theta"]) < 1e-9).all() for hard in space.hard):
        lines.append("hard, by an expert")
    lines += [f"in the set {name}" for name, thetas in space.sets.items() if (thetas == info["theta"]).all(1).any()]
    optimal = getattr(env, "optimal_return", None)
    if optimal is not None:
        with contextlib.suppress(NotImplementedError):  # an author's way to say that there is none
            worth = ", ".join(f"{task} {optimal(info['theta'], task, seed):.2f}" for task in env.tasks)
            lines.append(f"best expected return of episode seed {seed}: {worth}")
    return "\n".join(lines)


def _shown(text: str) -> str:
    return "\n".join(printable(line) if line else "" for line in text.split("\n"))


def command(argv: list[str]) -> int:
    """Run ``waker envs``."""
    if argv[:1] == ["show"]:
        given, words = constructor_arguments(argv[1:])
        print(printable(show(parse(ShowArgs, words, verb="envs show"), given)))
        return 0
    args = parse(EnvsArgs, argv, verb="envs")
    if args.theta and not args.env:
        raise UserError("--theta needs the environment it belongs to: waker envs ID --theta …")
    if args.theta:
        print(_shown(point(args.env, args.theta, args.seed)))
    else:
        print(_shown(description(args.env) if args.env else listing()))
    return 0
