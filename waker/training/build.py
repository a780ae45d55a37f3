"""Puts the rooms together: from a configuration to the factories of the training loop, and from a run folder back to
an agent. Called by the verbs of the command line and by experiment scripts.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

import waker_envs
from waker.agent.agent import Agent
from waker.collection.make_env import close, construct, made
from waker.config.schema import Config, EvalConfig
from waker.curriculum import Curriculum, make_curriculum
from waker.curriculum.api import Columns
from waker.errors import UserError
from waker.evaluation import records
from waker.evaluation.model_error import measured_ids
from waker.evaluation.pieces import FOLDER, Pieces, subject_of
from waker.evaluation.rehearsal import rehearse
from waker.evaluation.sources import RANDOM, RANDOM_ONLY, Source
from waker.loggers.sinks import check_sinks
from waker.machine import arithmetic
from waker.machine.compile_costs import Costs
from waker.protocols import Learner, Player
from waker.replay.ring import Replay, record_fields
from waker.replay.store import ReplayStore
from waker.specs import EnvSpec, spec_of
from waker.storage.checkpoint import Checkpoints
from waker.storage.files import saving
from waker.storage.lost_settings import recover_settings
from waker.storage.run_folder import RunFolder, canonical, read_config, read_record, run_folder
from waker.storage.salvage import restore_replay
from waker.storage.sealed import write_json
from waker.storage.state_shapes import check_fit
from waker.terminal.notices import tell_loss
from waker.terminal.progress import Progress
from waker.training import memory_needs
from waker.training.compile_choice import decide, run_calls
from waker.training.curriculum_truth import check_wanted, measure_of
from waker.training.loop import Outcome, train
from waker.training.session import Evaluate, Parts, Row
from waker_envs.api import ParametricEnv, ThetaSpace
from waker_envs.foreign import foreign, reason_of

MakeEnv = Callable[..., ParametricEnv]


def use_threads(device: str) -> None:
    """One torch thread on the CPU unless ``OMP_NUM_THREADS`` says otherwise.

    Small matrices lose with two threads when another process is busy, and the sums of a resumed run must be cut in
    the same places as those of the uninterrupted one.
    """
    if torch.device(device).type == "cpu":
        asked = (os.environ.get("OMP_NUM_THREADS") or "1").split(",")[0].strip()  # a list: the outermost level first
        if not asked.isdecimal() or int(asked) < 1:
            raise UserError(f"OMP_NUM_THREADS is {asked!r}; it must be a number of threads, or not be set")
        torch.set_num_threads(int(asked))


def checked_device(name: str) -> str:
    """The device's name.

    Raises:
        UserError: torch has no such device here.
    """
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise UserError(f"device {name!r} cannot be used: it holds no numbers; 'cpu' always can")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {name!r} cannot be used ({reason}); 'cpu' always can") from error
    return name


def environment(config: Config) -> MakeEnv:
    """The factory of a run's environments; arguments given to it go before those of ``config.env_kwargs``.

    Raises:
        UserError: an argument that the environment's constructor does not take, or a constructor that fails.
        UnknownEnvError: no such environment.
    """
    close(construct(config.env, config.env_kwargs), config.env)
    # A partial, because it can be sent to environment processes, which a function made here cannot.
    return functools.partial(waker_envs.make, config.env, **config.env_kwargs)


@dataclasses.dataclass(frozen=True)
class Family:
    """A run's environments: the factory, what the learner knows of them, and their θ."""

    make: MakeEnv
    spec: EnvSpec
    space: ThetaSpace

    @classmethod
    def of(cls, config: Config) -> Family:
        """The family of a configuration.

        Raises:
            UserError: see :func:`environment`; or spaces the learner has no encoder or policy for.
        """
        config = canonical(config)
        make = environment(config)
        env = made(make, config.env)

        def failed(error: BaseException) -> UserError:
            return UserError(f"{config.env} does not say what it is: {reason_of(error)}")

        try:
            with foreign(f"the attributes of {config.env}", failed, (UserError,)):
                spec, space = spec_of(env), env.theta_space
        finally:
            close(env, config.env)
        return cls(make, dataclasses.replace(spec, env_id=config.env, longest=config.longest_episode), space)

    @property
    def spaces(self) -> dict[str, str]:
        """Observation keys and actions in one line each: what weights and replay of a run are shaped by."""
        kinds = {
            k.name: f"{k.kind} {'×'.join(map(str, k.shape))} {list(k.classes) or k.dtype}"
            for k in self.spec.observation
        }
        action = self.spec.action
        range_ = "" if action.discrete else f", {list(action.low)} to {list(action.high)}"
        return {**kinds, "action": f"{'discrete' if action.discrete else 'continuous'} {action.dim}{range_}"}

    def check_unchanged(self, folder: Path) -> None:
        """Compare with what a run folder was made with.

        Raises:
            UserError: tasks, θ or spaces have changed since; the message has the first difference.
        """
        record = read_record(folder)
        for what, now in (("tasks", self.spec.task_labels), ("theta", self.space.names)):
            then = record.get(what)
            if isinstance(then, list) and then != list(now):
                name = "θ" if what == "theta" else what
                raise UserError(
                    f"{folder} was trained with {name} {', '.join(map(str, then))}; {self.spec.env_id} now has "
                    f"{', '.join(now)}"
                )
        spaces = record.get("spaces")
        if isinstance(spaces, dict) and spaces:
            for key in [*self.spaces, *(k for k in spaces if k not in self.spaces)]:
                if spaces.get(key) != self.spaces.get(key):
                    raise UserError(
                        f"{folder} was trained with {key} = {spaces.get(key, 'nothing')}; {self.spec.env_id} now has "
                        f"{self.spaces.get(key, 'nothing')}"
                    )


def curriculum_of(config: Config, space: ThetaSpace, rng: np.random.Generator) -> Curriculum:
    """The curriculum of a configuration; its memory is counted in updates of N credits."""
    return make_curriculum(config.curriculum.sampler, space, config.curriculum, rng, Agent.credits(config))


def check_buildable(config: Config, family: Family) -> None:
    """Build what a run needs once, without files, so that bad settings are told before a folder is made.

    Raises:
        UserError: the sampler does not go with this θ space, or asks for what cannot be measured there; or the nets do
            not go with these observations.
    """
    curriculum = curriculum_of(config, family.space, np.random.default_rng(0))
    plain = dataclasses.replace(config, train=dataclasses.replace(config.train, compile="off"))
    with torch.random.fork_rng(devices=[]):
        agent = Agent(family.spec, plain, "cpu")
        check_wanted(config, family, curriculum, agent)


def evaluator(
    config: Config,
    family: Family,
    folder: Path,
    note: Callable[[str], None],
    sources: Sequence[Source] = RANDOM_ONLY,
) -> Evaluate:
    """The loop's evaluation block: rows for its tables; the film strip and the θ space go into the folder.

    It may raise :class:`~waker.terminal.signals.Paused`, and then goes on where it was. ``note`` is told how far it is.
    ``sources`` act in held-out episodes (:func:`waker.training.reference.held_out_sources`).
    """

    def evaluate(learner: Learner, curriculum: Curriculum) -> Mapping[str, Sequence[Row] | Columns]:
        agent = cast(Agent, learner)
        pieces = evaluation_pieces(folder, agent, config.evaluation, family.spec, note, sources)
        found = records.measure(
            agent.model,
            task_player(agent),
            family.make,
            family.spec,
            family.space,
            config.evaluation,
            {},
            device=config.device,
            pieces=pieces,
            sources=sources,
        )
        with saving(f"the film strip in {folder}"):
            records.save(folder, dataclasses.replace(found, evaluation=[], model_error=[]))
        pieces.finish()
        return {"evaluation": found.evaluation, "model_error": found.model_error, "curriculum": curriculum.table()}

    return evaluate


def evaluation_pieces(
    folder: Path,
    agent: Agent,
    config: EvalConfig,
    spec: EnvSpec,
    note: Callable[[str], None],
    sources: Sequence[Source] = RANDOM_ONLY,
) -> Pieces:
    """An evaluation of these weights, and what was kept of it in a run folder when it was stopped."""
    acting = [source.about for source in sources]
    return Pieces(folder / FOLDER, subject_of(agent.state_dict(), config, spec, acting), note)


def task_player(agent: Agent) -> Player | None:
    """The agent's task policies, or None where they have not been trained yet."""
    if agent.config.train.task_policies == "after" and agent.adapter is None:
        return None
    return agent.task_player()


def train_run(config: Config, runs: Path, progress: Progress | None = None) -> tuple[Outcome, Path]:
    """Train one run to its end; :func:`waker.training.loop.train` with everything made from the configuration.

    Args:
        config: a preset, changed at will; the environment may be called by its short name.
        runs: folder of all runs.

    Returns:
        How it ended, and the run folder.

    Raises:
        UserError: settings that do not go together, a folder of other settings, an environment that fails, …
    """
    from waker.training.reference import held_out_sources  # which loads a run as this module does

    config = canonical(config)
    checked_device(config.device)
    check_sinks(config.sinks)
    use_threads(config.device)
    given = run_folder(runs, config)
    folder = given.absolute()  # now: an environment may change the working directory
    family = Family.of(config)
    memory_needs.check_run(config, family.spec, family.space, folder)
    recovered: list[str] = []
    recover_settings(folder, recovered.append)
    known = (folder / "config.yaml").is_file()
    used, changes = arithmetic.settle(config, recorded_arithmetic(folder) if known else None)
    if not known:
        check_buildable(config, family)
        rehearse(family.make, family.spec, family.space, config.evaluation)
    progress = progress or Progress(RunFolder(folder, config).name, config.train.steps)
    for change in [*recovered, *changes]:
        progress.note(change)
    sources = held_out_sources(config, family, progress.note)
    before = read_config(folder).train.compile if known else None
    compiling = decide(config, family.spec, run_calls(config), progress.note, before)
    config = compiling.config
    acting = {source.name: source.about for source in sources if source.name != RANDOM}
    record = {"arithmetic": used, "compiling": compiling.record, "reference": acting}
    with RunFolder(folder, config).locked() as lock:  # before anything is written
        if (folder / "config.yaml").is_file() != known:
            raise UserError(f"{folder} was begun or removed just now by another process; run the same command again")
        run = RunFolder.open(folder, config, family.space.names, family.spec.task_labels, family.spaces, record)
        run.lock = lock
        family.check_unchanged(folder)
        if compiling.told:
            progress.note(compiling.told)
        with saving(f"the θ space in {run.path}"):
            described = records.describe_space(family.space, family.spec.tasks)
            write_json(run.path / records.SPACE_FILE, described, indent=1)
        evaluate = evaluator(config, family, run.path, progress.note, sources)
        parts = parts_of(config, family, evaluate, compiling.costs, sources)
        return train(parts, run, progress), given


def recorded_arithmetic(folder: Path) -> Mapping[str, Any]:
    """What the run of a folder was last computed with (:func:`waker.machine.arithmetic.settle`)."""
    recorded = read_record(folder).get("arithmetic")
    return recorded if isinstance(recorded, dict) and "products" in recorded else arithmetic.EARLIER


def with_free_products(config: Config) -> Config:
    """The configuration for what has no setting of who multiplies: as recorded, or else whatever is fastest."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, products="auto"))


def parts_of(
    config: Config,
    family: Family,
    evaluate: Evaluate,
    costs: Costs | None = None,
    sources: Sequence[Source] = RANDOM_ONLY,
) -> Parts:
    """What the training loop is handed; ``costs`` notes what updates cost, ``sources`` act in held-out episodes."""
    return Parts(
        spec=family.spec,
        space=family.space,
        make_env=family.make,
        make_curriculum=functools.partial(curriculum_of, config, family.space),
        make_agent=lambda: cast(Learner, Agent(family.spec, config, costs=costs)),
        evaluate=evaluate,
        measured=measured_ids(family.space).tolist(),
        measure=measure_of(config, family, sources),
    )


@dataclasses.dataclass(frozen=True)
class LoadedRun:
    """A run folder's newest checkpoint, ready to be evaluated or adapted.

    Attributes:
        run: the folder, with the settings of the run (and the device asked for).
        state: of the checkpoint: ``updates``, ``adapted``, ``collector`` with the agent steps, ``replay``, …
    """

    run: RunFolder
    family: Family
    agent: Agent
    state: dict[str, Any]

    @property
    def config(self) -> Config:
        """The run's settings."""
        return self.run.config

    @property
    def step(self) -> int:
        """Agent steps made until the checkpoint."""
        return int(self.state["collector"]["step"])

    @property
    def identity(self) -> dict[str, Any]:
        """The columns of every row measured on this checkpoint."""
        return {**self.run.columns, "step": self.step, "updates": int(self.state["updates"])}

    def replay(self, note: Callable[[str], None]) -> Replay:
        """The run's replay as the checkpoint knows it; hold the folder's lock.

        Args:
            note: told of chunks that are damaged or missing, and left out (``lost`` of the replay).

        Raises:
            ReplayLost: not enough of it is left for a window.
        """
        train = self.config.train
        replay = Replay(record_fields(self.family.spec), train.envs, train.replay, self.run.path / "replay")
        store = ReplayStore(self.run.path / "replay", replay)
        for told in restore_replay(store, self.state["replay"], train.length, without_damaged=True):
            tell_loss(note, told)
        return replay


def load_run(folder: Path, note: Callable[[str], None], device: str | None = None, settle: bool = True) -> LoadedRun:
    """Load the newest whole checkpoint of a run folder; tensors only, no code of the checkpoint's is run.

    Args:
        folder: a run folder.
        note: told in one line of a damaged checkpoint that is passed over, and of what is computed with that the run
            was not.
        device: None = the run's own.
        settle: multiply as the run was last computed; False = whoever goes on with it has settled that, or will.

    Raises:
        UserError: no run folder, no checkpoint, none that is whole, or an environment that has changed since.
    """
    config = read_config(folder)
    config = dataclasses.replace(config, device=checked_device(device or config.device))
    if torch.device(config.device).type == "cpu":  # what is fast on a GPU takes many times as long here
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, compile="off", precision="fp32"))
    use_threads(config.device)
    if settle:
        for change in arithmetic.settle(with_free_products(config), recorded_arithmetic(folder), advise=False)[1]:
            note(change)
    family = Family.of(config)
    family.check_unchanged(folder)
    memory_needs.check_fits(memory_needs.weights(config, family.spec), config.device)
    agent = Agent(family.spec, config)

    def use(state: dict[str, Any]) -> dict[str, Any]:
        check_fit(state["agent"], agent.state_dict(), "agent")
        agent.load_state_dict(state["agent"])
        return state

    state = Checkpoints(folder / "checkpoints", config.train.keep).newest(use, note)
    if state is None:
        raise UserError(f"{folder} has no checkpoint yet: run `waker train` first")
    return LoadedRun(RunFolder(folder, config), family, agent, state)
