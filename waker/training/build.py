"""Puts the rooms together: from a configuration to the factories of the training loop, and from a run folder back to
an agent. Called by the verbs of the command line and by experiment scripts.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch

from waker.agent.agent import Agent
from waker.analysis.source_means import RANDOM
from waker.collection.family import Family
from waker.config.checks import check
from waker.config.schema import Config
from waker.config.unused import told_unused
from waker.curriculum import Curriculum, make_curriculum
from waker.errors import UserError
from waker.evaluation import records
from waker.evaluation.model_error import measured_ids
from waker.evaluation.pieces import FOLDER, Pieces, subject_of
from waker.evaluation.records import Measurement
from waker.evaluation.rehearsal import rehearse
from waker.evaluation.setup import Setup
from waker.evaluation.sources import RANDOM_ONLY, Source
from waker.loggers.registry import check_sinks
from waker.machine import arithmetic
from waker.machine.compile_costs import Costs
from waker.machine.device import checked_device, use_threads
from waker.protocols import Learner
from waker.storage.files import check_folder
from waker.storage.manifest import recover_settings
from waker.storage.run_folder import RunFolder, canonical, read_config, run_folder
from waker.terminal.progress import Progress
from waker.training import memory_needs
from waker.training.compile_choice import decide, run_calls
from waker.training.loading import recorded_arithmetic, task_player
from waker.training.loop import Outcome, train
from waker.training.measuring import check_wanted, measure_of
from waker.training.own_settings import own_settings
from waker.training.parts import Evaluate, Parts
from waker.training.recording import check_needs
from waker.training.row_writer import write_space
from waker_envs.api import ThetaSpace


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
        check_needs(config, family, curriculum, agent)


def evaluator(setup: Setup, folder: Path, note: Callable[[str], None]) -> Evaluate:
    """The loop's evaluation block.

    It may raise :class:`~waker.terminal.signals.Paused`, and the next call continues there. ``note`` receives its
    progress.
    """

    def evaluate(learner: Learner) -> Measurement:
        agent = cast(Agent, learner)
        pieces = evaluation_pieces(setup, agent, folder, note)
        found = records.measure(setup, agent.model, task_player(agent), pieces=pieces)
        pieces.finish()
        return found

    return evaluate


def evaluation_pieces(setup: Setup, agent: Agent, folder: Path, note: Callable[[str], None]) -> Pieces:
    """An evaluation of these weights, and what was kept of it in a run folder when it was stopped."""
    acting = [source.about for source in setup.sources]
    return Pieces(folder / FOLDER, subject_of(agent.state_dict(), setup.config, setup.family.spec, acting), note)


def too_short(config: Config) -> list[str]:
    """A line where no update will be made."""
    train = config.train
    if train.steps - train.prefill >= train.train_every:
        return []
    return [
        f"nothing will be learned in {train.steps:,} steps: the first update comes after the prefill of "
        f"{train.prefill:,} (train.prefill) and {train.train_every:g} more (train.train_every)"
    ]


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
    check(config)
    checked_device(config.device)
    check_sinks(config.sinks, config.sink_settings)
    if config.train.compile_cache:
        check_folder("train.compile_cache", Path(config.train.compile_cache))
    use_threads(config.device)
    given = run_folder(runs, config)
    folder = given.absolute()  # now: an environment may change the working directory
    family = Family.of(config)
    memory_needs.check_run(config, family, folder)
    recovered: list[str] = []
    recover_settings(folder, recovered.append)
    known = (folder / "config.yaml").is_file()
    used, changes = arithmetic.settle(config, recorded_arithmetic(folder) if known else None)
    if not known:
        check_buildable(config, family)
        rehearse(family, config.evaluation)
    progress = progress or Progress(RunFolder(folder, config).name, config.train.steps)
    for change in [*recovered, *changes, *told_unused(config, family.space), *too_short(config)]:
        progress.note(change)
    sources = held_out_sources(config, family, progress.note)
    before = read_config(folder).train.compile if known else None
    compiling = decide(config, family.spec, run_calls(config), progress.note, before)
    config = compiling.config
    acting = {source.name: source.about for source in sources if source.name != RANDOM}
    record = {"arithmetic": used, "compiling": compiling.record, "reference": acting, "own": own_settings(config)}
    with RunFolder(folder, config).locked() as lock:  # before anything is written
        if (folder / "config.yaml").is_file() != known:
            raise UserError(f"{folder} was begun or removed just now by another process; run the same command again")
        run = RunFolder.open(folder, config, family.space.names, family.spec.task_labels, family.spaces, record)
        run.lock = lock
        family.check_unchanged(folder)
        if compiling.told:
            progress.note(compiling.told)
        write_space(run.path, family)
        evaluate = evaluator(Setup.of_run(config, family, sources), run.path, progress.note)
        parts = parts_of(config, family, evaluate, compiling.costs, sources)
        return train(parts, run, progress), given


def parts_of(
    config: Config,
    family: Family,
    evaluate: Evaluate,
    costs: Costs | None = None,
    sources: Sequence[Source] = RANDOM_ONLY,
) -> Parts:
    """What the training loop is handed; ``costs`` notes what updates cost, ``sources`` act in held-out episodes."""
    return Parts(
        family=family,
        make_curriculum=functools.partial(curriculum_of, config, family.space),
        make_agent=lambda: cast(Learner, Agent(family.spec, config, costs=costs)),
        evaluate=evaluate,
        measured=measured_ids(family.space).tolist(),
        measure=measure_of(config, family, sources),
    )
