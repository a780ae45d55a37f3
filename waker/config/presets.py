"""Presets: functions that return a :class:`Config`. One code path, several configurations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from waker.config.published import RECIPES, REPLAY, prefill_of, recipe_of
from waker.config.schema import (
    AdaptConfig,
    BehaviourConfig,
    Config,
    EvalConfig,
    ExplorerConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from waker.curriculum.config import CurriculumConfig
from waker.errors import unknown


def _authors_adam(lr: float) -> OptimizerConfig:
    return OptimizerConfig(lr=lr, eps=1e-5, clip=100.0, decay=1e-6, keras=True)


def paper(domain: str = "terrain", sampler: str = CurriculumConfig.sampler) -> Config:
    """The published settings: DreamerV2 with discrete latents, Plan2Explore, the paper's schedule.

    They belong to a domain: for another environment ask :func:`preset` again, rather than replace ``env``.

    Args:
        domain: whose numbers, a name of :data:`waker.config.published.RECIPES`; its first environment is the one set.
        sampler: the curriculum; some were published with a short prefill.
    """
    recipe = RECIPES[domain]
    return Config(
        env=recipe.env_ids[0],
        curriculum=CurriculumConfig(sampler=sampler),
        model=ModelConfig(
            deter=600,
            hidden=600,
            stoch=32,
            classes=32,
            cnn_depth=48,
            act="elu",
            norm="none",
            unimix=0.0,
            symlog=False,
            reward="gaussian",
            zero_heads=False,
            kl_balance="mix",
            kl_dyn=0.8,
            kl_rep=0.2,
            kl_scale=recipe.kl_scale,
            free_nats=1.0,
            continue_scale=0.0,
            optimizer=_authors_adam(recipe.model_lr),
        ),
        behaviour=BehaviourConfig(
            chunk=115,  # a seventh of the 800 start states: more at a time need more than 4.5 GB
            critic="gaussian",
            actor_unimix=0.0,
            entropy=recipe.entropy,
            explorer_entropy=recipe.entropy,
            normalise_returns=False,
            slow_target=True,
            slow_every=100,
            slow_rate=1.0,
            slow_regulariser=0.0,
            baseline="authors",
            actor_optimizer=_authors_adam(1e-4),
            critic_optimizer=_authors_adam(1e-4),
        ),
        explorer=ExplorerConfig(target="feature", scale=50.0, optimizer=_authors_adam(3e-4)),
        train=TrainConfig(
            steps=recipe.steps, prefill=prefill_of(recipe, sampler), train_every=recipe.train_every, replay=REPLAY
        ),
    )


def authors(domain: str = "terrain", sampler: str = CurriculumConfig.sampler) -> Config:
    """``paper`` with the authors' switches: the action that led into a state, the first imagined entry credited."""
    base = paper(domain, sampler)
    explorer = replace(base.explorer, action="authors", credit_first=True)
    return replace(base, explorer=explorer)


def default() -> Config:
    """The later, more robust recipe (DreamerV3) at a middle size."""
    return Config(explorer=ExplorerConfig(target="deter"))


def laptop() -> Config:
    """The recipe for grids on one core: minutes, small nets, short memory of the error estimates.

    Chosen on GridHazards: few free nats (one hides slip), short windows (the room is seen whole), high rates with
    decay, reward heads fitted to the frozen model before policies are trained on them. Task policies learn by a
    lookahead and see what the decoder makes of a state (:mod:`experiments.actors` compares it with rollouts).
    """
    return Config(
        model=ModelConfig(
            deter=128,
            hidden=128,
            stoch=16,
            classes=8,
            cnn_depth=8,
            encoder_units=(128, 128),
            decoder_units=(128, 128),
            head_units=(128, 128),
            continue_units=(64,),
            norm="layer",
            bins=41,
            bins_limit=4.0,
            free_nats=0.1,
            optimizer=OptimizerConfig(lr=6e-3, eps=1e-8, warmup=100, anneal=1800),
        ),
        behaviour=BehaviourConfig(
            horizon=10,
            starts=64,
            discount=0.97,
            actor_units=(128,),
            critic_units=(128,),
            entropy=1e-2,
            explorer_entropy=1e-2,
            actor_optimizer=OptimizerConfig(lr=4e-3, eps=1e-8, warmup=50),
            critic_optimizer=OptimizerConfig(lr=4e-3, eps=1e-8, warmup=50),
        ),
        explorer=ExplorerConfig(
            heads=5,
            units=(64,),
            target="observation",
            credit="replayed",
            optimizer=OptimizerConfig(lr=4e-3, eps=1e-8, warmup=50),
        ),
        curriculum=CurriculumConfig(
            memory_updates=20.0, reduction_interval=1_000, reduction_start=3_000, oracle_interval=2_000
        ),
        train=TrainConfig(
            steps=40_000,
            prefill=1_000,
            envs=8,
            train_every=21.5,
            batch=32,
            length=8,
            replay=200_000,
            task_policies="after",
            adapt_updates=1_600,
            adapt_batch=48,
            adapt_heads=150,
            save_every=10_000,
            log_every=50,
        ),
        adapt=AdaptConfig(method="lookahead", sees="decoded", refit_continue=True, units=(256,)),
        # Many short episodes of few start states and samples: the θ are told apart far better, for less.
        evaluation=EvalConfig(
            every=10_000, episodes=180, suite_episodes=36, planned_episodes=180, model_episodes=16, samples=32
        ),
    )


def grid() -> Config:
    """A latent state in every cell, for boards of movable things (GridCleanUp) on one core.

    Chosen on GridCleanUp: :func:`laptop`'s global latent does not tell where four blocks are in any state it was not
    trained on; this one does. Random exploration moves a block as often as Plan2Explore there, and steps are cheap.
    Reward heads see steps: those of states never told a push's reward. Actions are drawn in evaluations: the likeliest
    ones finish less often (``python -m experiments.boards`` and ``experiments.pushes``, development seed 20). Which of
    ±4 a push earns in `sort` depends on block and action together, of which neither alone tells anything. Heads that
    summed all of the board had not found it at the end of two runs of eleven (seeds 172 and 175); from what
    changes heads find it in 500 (:mod:`experiments.board_heads`). A model learns pushes by the number of its updates
    more than by their size (:mod:`experiments.board_updates`, seed 21). Policies discount much: the further they look,
    the less of the values' range lies between two actions, and more single blocks are left standing
    (``experiments.pushes again``, seeds 20 and 21).
    """
    base = laptop()
    return replace(
        base,
        env="waker/GridCleanUp-v0",
        model=replace(
            base.model,
            latent="cells",
            deter=16,
            hidden=32,
            stoch=2,
            classes=8,
            encoder_units=(32,),
            decoder_units=(32,),
            head_units=(32, 32, 32),
            reward_sees="change",  # a block that is pushed pays for the step, not for where it lies
            reward_draws=128,  # and one step in a hundred is such a step
            continue_units=(16,),
            unimix=0.0,  # in some hundred latents 1 % of chance each would put something somewhere at every step
            kl_rep=0.02,
            kl_first=False,
            free_nats=0.0,
            optimizer=replace(base.model.optimizer, anneal=5_400),
        ),
        behaviour=replace(base.behaviour, actor_units=(8, 128), critic_units=(8, 128)),
        explorer=replace(base.explorer, name="random", units=(16, 16)),
        train=replace(
            base.train,
            steps=100_000,
            train_every=18.3,
            batch=16,
            length=4,
            adapt_batch=48,
            adapt_heads=300,
            adapt_updates=1_000,
        ),
        adapt=AdaptConfig("lookahead", discount=0.85, starts=12),
        evaluation=replace(base.evaluation, actions="sampled"),
    )


def control() -> Config:
    """DreamerV3's recipe for vector observations and continuous actions on one core: an hour or two.

    For the MuJoCo families with ``obs="proprio+scan"``. Task policies are trained afterwards from the frozen model.
    """
    units = (128, 128)
    return Config(
        env="waker/TerrainWalker-v0",
        env_kwargs={"obs": "proprio+scan"},
        model=ModelConfig(
            deter=128,
            hidden=128,
            stoch=16,
            classes=8,
            cnn_depth=8,
            encoder_units=units,
            decoder_units=units,
            head_units=units,
            continue_scale=0.0,
            optimizer=OptimizerConfig(lr=1e-3, eps=1e-8, warmup=200),
        ),
        behaviour=BehaviourConfig(
            starts=64,
            discount=0.99,
            actor_units=units,
            critic_units=units,
            actor_optimizer=OptimizerConfig(lr=3e-4, eps=1e-8, warmup=100),
            critic_optimizer=OptimizerConfig(lr=3e-4, eps=1e-8, warmup=100),
        ),
        explorer=ExplorerConfig(
            heads=5,
            units=units,
            target="deter",
            optimizer=OptimizerConfig(lr=3e-4, eps=1e-8, warmup=100),
        ),
        curriculum=CurriculumConfig(
            memory_updates=200.0, reduction_interval=5_000, reduction_start=20_000, oracle_interval=5_000
        ),
        train=TrainConfig(
            steps=40_000,
            prefill=4_000,
            envs=8,
            train_every=8.0,
            batch=16,
            length=16,
            replay=500_000,
            task_policies="after",
            adapt_updates=3_000,
            adapt_batch=16,
            adapt_heads=300,
            save_every=20_000,
            log_every=100,
        ),
        evaluation=EvalConfig(every=20_000, episodes=60, suite_episodes=20, model_episodes=2),
    )


def tiny() -> Config:
    """The smallest working learner, for tests and for trying things out: seconds, and nothing to be learned."""
    small = (16,)
    return Config(
        model=ModelConfig(
            deter=16,
            hidden=16,
            stoch=4,
            classes=4,
            cnn_depth=2,
            encoder_units=small,
            decoder_units=small,
            head_units=small,
            continue_units=small,
            bins=11,
            bins_limit=3.0,
        ),
        behaviour=BehaviourConfig(horizon=4, starts=16, actor_units=small, critic_units=small),
        explorer=ExplorerConfig(heads=3, units=small, target="deter"),
        curriculum=CurriculumConfig(memory_updates=10.0, reduction_interval=40, reduction_start=80, oracle_interval=40),
        train=TrainConfig(
            steps=160,
            prefill=64,
            envs=2,
            train_every=16.0,
            batch=4,
            length=8,
            replay=1_000,
            adapt_updates=3,
            save_every=80,
            log_every=2,
        ),
        evaluation=EvalConfig(episodes=6, suite_episodes=2, planned_episodes=6, model_episodes=1, horizon=3, samples=8),
    )


PUBLISHED: dict[str, Callable[..., Config]] = {"paper": paper, "authors": authors}
"""Presets whose numbers depend on the domain and on the sampler."""

PRESETS: dict[str, Callable[[], Config]] = {
    "default": default,
    "paper": paper,
    "authors": authors,
    "laptop": laptop,
    "grid": grid,
    "control": control,
    "tiny": tiny,
    **{f"{name}-{domain}": partial(made, domain) for name, made in PUBLISHED.items() for domain in RECIPES},
}
"""Name → preset, as `--preset` takes it. `paper` and `authors` follow the environment (:func:`preset`); with a domain
in its name a published preset is for whatever environment."""

DEFAULT = "laptop"
"""What settings start from where nothing else is named."""


def preset(name: str, env: str | None = None, sampler: str | None = None) -> Config:
    """The preset called ``name``, for an environment and a sampler where its numbers depend on them. It bears its name.

    Args:
        env: the full id of the environment it is wanted for; None = the preset's own. It is set only where the numbers
            belong to it: ``paper`` and ``authors``.
        sampler: the curriculum it is wanted for; None = the preset's own. Set likewise, by all published presets.

    Raises:
        UserError: there is no such preset (the message names the nearest), or no paper has this environment.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    kind, _, domain = name.partition("-")
    if kind not in PUBLISHED:
        return replace(PRESETS[name](), preset=name)
    domain = domain or (recipe_of(name, env) if env else next(iter(RECIPES)))
    config = replace(PUBLISHED[kind](domain, sampler or CurriculumConfig.sampler), preset=name)
    return replace(config, env=env) if env and name == kind else config
