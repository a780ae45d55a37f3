"""The one typed configuration: frozen dataclasses that are also the command line and its help.

A *preset* (:mod:`waker.config.presets`) is a function that returns a :class:`Config`; the command line overrides single
fields; the resolved result is written beside every run. Unknown keys are errors, and so are values that a field's type
does not allow, ranges included (:mod:`waker.settings`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval

from waker.config.changes import changed
from waker.config.replay_choice import ReplayConfig
from waker.curriculum.config import CurriculumConfig
from waker.errors import UserError
from waker.settings import (
    Count,
    Detail,
    NotNegative,
    NotNegativeInt,
    Positive,
    Published,
    Settings,
    Several,
    Share,
    Short,
    Unoffered,
)
from waker.specs import LONGEST

CompileChoice = Literal["off", "compile", "reduce-overhead", "graphs"]
CompileSetting = Literal["off", "auto", "compile", "reduce-overhead", "graphs"]
ProductsChoice = Literal["auto", "blas", "onednn"]
PrecisionChoice = Literal["fp32", "tf32", "bf16"]


@dataclass(frozen=True)
class OptimizerConfig(Settings, section="optimizer"):
    """Adam with one global-norm clip per optimiser (per member of a stack)."""

    lr: NotNegative = 3e-4
    """Learning rate."""
    eps: Detail[NotNegative] = 1e-5
    """Adam's epsilon."""
    clip: Detail[NotNegative] = 100.0
    """Largest global norm of the gradient; 0 = no clipping."""
    decay: Published[Share] = 0.0
    """Every step multiplies all weights by 1 − decay (not scaled by the learning rate)."""
    keras: Published[bool] = False
    """Epsilon beside the uncorrected √v, as the authors' optimiser has it, instead of the corrected one."""
    warmup: NotNegativeInt = 0
    """Updates over which the learning rate rises linearly from 0."""
    anneal: Detail[NotNegativeInt] = 0
    """Update at which a cosine has brought the rate to `anneal_to` × lr; 0 = constant."""
    anneal_to: Detail[Share] = 0.1
    """Share of the rate left at the end of the cosine."""


@dataclass(frozen=True)
class ModelConfig(Settings, section="model"):
    """World model (docs/method.md): RSSM, encoder, decoder, heads."""

    latent: Literal["vector", "cells"] = "vector"
    """`vector`: one state for all that is seen. `cells`: where the observation is a board (the grids from symbols), a
    state in every cell and rules shared by all. The sizes below are then those of one cell, hidden layers of encoder,
    decoder and heads too; policies see the board from where the agent stands, through as many channels a cell as their
    first layer has units."""
    deter: Count = 512
    """Size of the deterministic state (GRU)."""
    hidden: Count = 512
    """Size of the RSSM's hidden layers."""
    stoch: Count = 32
    """Number of categorical latents."""
    classes: Several = 32
    """Classes of each latent."""
    cnn_depth: Count = 48
    """Channels of the first convolution; the others double."""
    encoder_kernels: Detail[tuple[Count, ...]] = (4, 4, 4, 4)
    """Kernels of the encoder's convolutions (stride 2, unpadded)."""
    decoder_kernels: Detail[tuple[Count, ...]] = (5, 5, 6, 6)
    """Kernels of the decoder's transposed convolutions (stride 2, unpadded)."""
    encoder_units: tuple[Count, ...] = (400, 400, 400, 400)
    """Hidden layers of the vector and categorical encoder."""
    decoder_units: tuple[Count, ...] = (400, 400, 400, 400)
    """Hidden layers of the vector and categorical decoder."""
    head_units: tuple[Count, ...] = (400, 400, 400, 400)
    """Hidden layers of the reward heads."""
    continue_units: tuple[Count, ...] = (400, 400, 400, 400)
    """Hidden layers of the continue head."""
    act: Literal["elu", "silu"] = "silu"
    """Activation everywhere."""
    norm: Literal["none", "rms", "layer"] = "rms"
    """Normalisation of hidden layers (the GRU always normalises its pre-activations)."""
    gru_norm_eps: Detail[Positive] = 1e-3
    """Epsilon of the GRU's layer norm."""
    gru_update_bias: Detail[float] = -1.0
    """Added to the GRU's update gate: below 0 the state changes slowly at first."""
    unimix: Share = 0.01
    """Share of the uniform distribution mixed into every latent's categorical."""
    symlog: Detail[bool] = True
    """Squash vector observations with symlog, in and out."""
    reward: Detail[Literal["gaussian", "twohot"]] = "twohot"
    """Distribution of reward heads: unit-variance Gaussian, or two-hot over symexp-spaced bins."""
    bins: Detail[Annotated[int, Ge(3)]] = 255
    """Bins of two-hot heads (rewards and critics): symmetric, with one at zero."""
    bins_limit: Detail[Annotated[float, Interval(gt=0, le=80)]] = 20.0
    """Bins span symexp(−limit) … symexp(limit). symexp(80) = 5.5e34: of a larger limit the sum leaves float32."""
    zero_heads: Detail[bool] = True
    """Start the last layer of reward heads and critics at zero."""
    kl_balance: Published[Literal["mix", "dyn-rep"]] = "dyn-rep"
    """`mix`: clamp each side's mean at the free nats, then mix by `kl_dyn`/`kl_rep`; `dyn-rep`: clamp per state."""
    kl_dyn: NotNegative = 0.5
    """Weight of KL(sg(posterior) ‖ prior)."""
    kl_rep: NotNegative = 0.1
    """Weight of KL(posterior ‖ sg(prior))."""
    kl_scale: Detail[NotNegative] = 1.0
    """Weight of the KL in the model's loss."""
    kl_first: Detail[bool] = True
    """Count the KL of an episode's and a window's first state too. It is large where much is seen at once, nothing
    predicts it, and its chance drowns the rest."""
    free_nats: NotNegative = 1.0
    """KL below this is free."""
    continue_scale: NotNegative = 1.0
    """Weight of the continue head's loss; 0 = no continue head (environments that never terminate)."""
    reward_gradients: Detail[bool] = False
    """Let reward heads shape the latent state (the reward-free setting does not)."""
    reward_sees: Literal["state", "transition", "change"] = "state"
    """What reward heads see. `state`: the state arrived in. `transition`: the state before, the action and the state
    after, for rewards of what an action does (a block that is pushed); an imagined start state then has none. `change`:
    the same; with `model.latent cells` the board after, and by itself what changed in each cell."""
    reward_draws: NotNegativeInt = 0
    """Records of a batch that reward heads learn from in an update, drawn so that rare rewards come as often as common
    ones; 0 = all of them, once each. Where a reward is certain, given what heads see, drawing changes no expectation;
    where it is not, they expect the rare ones too often."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bins % 2 == 0:
            raise UserError(f"model.bins = {self.bins} must be odd")


@dataclass(frozen=True)
class BehaviourConfig(Settings, section="behaviour"):
    """Imagination and the stack of actor-critics (K task policies and the explorer)."""

    horizon: Count = 15
    """Imagined steps H."""
    starts: NotNegativeInt = 0
    """Start states drawn from the B·T posterior states for task policies and explorer; 0 = all of them."""
    chunk: NotNegativeInt = 0
    """Start states imagined and differentiated at a time; 0 = all at once. Bounds memory (and keeps the CPU's caches
    warm) at the same result; on a GPU more chunks are more kernel launches."""
    discount: Share = 0.99
    """γ."""
    lambda_: Share = 0.95
    """λ of the λ-return."""
    actor_units: tuple[Count, ...] = (400, 400, 400, 400)
    """Hidden layers of an actor."""
    critic_units: tuple[Count, ...] = (400, 400, 400, 400)
    """Hidden layers of a critic."""
    critic: Detail[Literal["gaussian", "twohot"]] = "twohot"
    """Distribution of the critic."""
    gradient: Detail[Literal["auto", "dynamics", "reinforce"]] = "auto"
    """How the actor learns: through the dynamics, by REINFORCE, or auto (dynamics if continuous)."""
    min_scale: Detail[Positive] = 0.1
    """Smallest scale of a continuous actor's distribution."""
    actor_unimix: Detail[Share] = 0.01
    """Uniform share of a discrete actor's distribution."""
    entropy: NotNegative = 3e-4
    """Entropy bonus of task policies."""
    explorer_entropy: NotNegative = 3e-4
    """Entropy bonus of the exploration policy."""
    normalise_returns: Detail[bool] = True
    """Divide advantages by the running 5–95 % range of returns, where it exceeds `return_floor`."""
    return_floor: Detail[Positive] = 1.0
    """Smallest divisor of task policies (the explorer's rewards have no scale of their own: its floor is 1e-3)."""
    slow_target: Detail[bool] = False
    """λ-returns bootstrap from (and REINFORCE's baseline is) the slow critic; else the live one."""
    slow_every: Detail[Count] = 1
    """Updates between refreshes of the slow critic."""
    slow_rate: Detail[Share] = 0.02
    """Share of the live critic in a refresh; 1 = copy."""
    slow_regulariser: Detail[NotNegative] = 1.0
    """Weight of the critic's pull towards its slow copy."""
    baseline: Published[Literal["lambda", "authors"]] = "lambda"
    """REINFORCE's advantage at t: V_t − v_t, or the authors' V_{t+1} − v_t (whose return leaves out r_t)."""
    actor_optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=1e-4))
    critic_optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=1e-4))


@dataclass(frozen=True)
class ExplorerConfig(Settings, section="explorer"):
    """Who explores, and the ensemble whose disagreement estimates the model's error."""

    name: Annotated[str, Short("--explorer")] = "plan2explore"
    """plan2explore, latent-disagreement, rnd, random, one from another package, or file.py:Class: who collects data.
    `random` acts uniformly; its rollouts are imagined only where they feed the error estimates (`credit`)."""
    settings: Detail[dict[str, str | int | float | bool | None]] = field(default_factory=dict)
    """Numbers of that explorer's own, which `--explorer.NAME.SETTING VALUE` sets too: `--explorer.rnd.size 128`."""
    heads: Several = 10
    """Members E of the ensemble, which Plan2Explore is rewarded by and θ is credited by, whoever explores."""
    units: tuple[Count, ...] = (400, 400, 400, 400)
    """Hidden layers of a member."""
    target: Literal["feature", "deter", "latent", "observation"] = "feature"
    """What members predict of the next state: the feature (as published), its deterministic part, the categorical
    latents, or the observation (pictures as the encoder embeds them). Disagreement about categories is a
    Jensen–Shannon divergence in nats, about numbers a standard deviation."""
    action: Published[Literal["taken", "authors"]] = "taken"
    """The action members see: the one taken at t, or (authors) the one that led into t."""
    across_ends: Published[bool] = False
    """Keep pairs of states across an episode's end in the ensemble's loss. The published loss leaves nothing out, as
    its sequences never cross an end; ours do, so this is for comparisons with it alone."""
    scale: NotNegative = 1.0
    """Intrinsic reward = scale × disagreement (or what else the explorer is rewarded for)."""
    credit: Literal["imagined", "replayed"] = "imagined"
    """Which disagreement is credited to θ as the model's error: about the steps imagined from each start state (as
    published), or about the steps of the batch itself, which needs no imagination and asks B·(T−1) states. With
    `replayed` waker-m and waker-r are variants of the published samplers, and tables and figures call them so."""
    credit_steps: Detail[NotNegativeInt] = 0
    """Imagined steps whose disagreement is credited to the start state's θ; 0 = the whole horizon (as published; else
    waker-m and waker-r are variants, and are called so). Imagined states drift away from the θ they started in."""
    credit_first: Published[bool] = False
    """Include the first imagined entry, whose action is zero, in the credit (authors)."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.credit == "replayed" and (self.credit_steps or self.credit_first):
            raise UserError(
                "explorer.credit_steps and explorer.credit_first say which imagined steps are credited; with "
                "explorer.credit 'replayed' none is: leave them at 0 and false"
            )


@dataclass(frozen=True)
class TrainConfig(Settings, section="train"):
    """The loop: how much data, how many updates, what is saved when."""

    steps: Annotated[Count, Short("--steps")] = 100_000
    """Agent steps in all."""
    prefill: NotNegativeInt = 5_000
    """Agent steps of uniform random actions before the first update."""
    envs: Count = 8
    """Environment slots stepped together."""
    env_processes: NotNegativeInt = 0
    """Worker processes that the slots are dealt to, in evaluations too; 0 = none. For environments that take most of
    the time (pictures), where cores are free. Changes no number; may differ on a resume."""
    train_every: Positive = 8.0
    """Agent steps between updates."""
    batch: Count = 16
    """Sequences B of a batch."""
    length: Several = 50
    """Steps T of a sequence."""
    replay: Count = 1_000_000
    """Steps the replay holds."""
    task_policies: Annotated[Literal["online", "after"], Short("--task-policies")] = "online"
    """Train task policies alongside, or afterwards from the last checkpoint and its replay."""
    adapt_updates: NotNegativeInt = 0
    """With `after`: batches that the task policies are trained on once exploration has ended (also `waker adapt`)."""
    adapt_repeats: Detail[Count] = 1
    """Policy updates on each of them: the frozen model filters a batch once, starts are drawn from it repeatedly."""
    adapt_batch: Count = 16
    """Sequences of a batch while only task policies are trained: the frozen model filters them cheaply."""
    adapt_heads: NotNegativeInt = 0
    """The first so many of those batches train the reward heads alone: a policy of a wrong reward is work lost."""
    precision: PrecisionChoice = "fp32"
    """Arithmetic of matrix products and convolutions. tf32: an NVIDIA GPU's products of float32 numbers rounded to ten
    bits, fp32 elsewhere. bf16 is for GPUs (autocast), and many times slower on a CPU. Weights, losses, returns and
    credit are float32 in all three."""
    products: ProductsChoice = "auto"
    """Who multiplies large matrices on a CPU: torch's BLAS (MKL on x86-64, which keeps its AVX-512 kernels to Intel's
    processors) or oneDNN. `auto`: whichever is faster here by a measurement of 0.1 s; a resumed run stays with what it
    had. What torch.compile compiles is not concerned."""
    compile: CompileSetting = "off"
    """`compile`: updates as graphs of torch.compile, on a CPU too (about 1.5 × faster at laptop size, after minutes of
    compiling once); `auto`: that where it pays, by what is known of this machine or by a guess, else off. For GPUs:
    `graphs`, the uncompiled update recorded once as a CUDA graph and replayed, in seconds (`auto` there);
    `reduce-overhead`, the same of the compiled one. Neither `reduce-overhead` nor `compile` has been shown to work on
    CUDA: inductor of torch 2.11 fails on this update (docs/gpu.md)."""
    compile_cache: Detail[str] = ""
    """Folder where compiled updates are kept, for all runs; empty = waker/compile in the user's cache folder."""
    save_every: Count = 10_000
    """Agent steps between checkpoints."""
    keep: Count = 2
    """Checkpoints kept."""
    log_every: Count = 250
    """Updates between metric rows."""


@dataclass(frozen=True)
class AdaptConfig(Settings, section="adapt"):
    """How task policies learn from the frozen model (`--task-policies after`, and `waker adapt`)."""

    method: Literal["rollouts", "lookahead"] = "rollouts"
    """`rollouts`: actor-critics on imagined rollouts, as alongside exploration. `lookahead`: one imagined step of every
    action; the actor is fitted to the Boltzmann policy of their values. Continuous actions always learn from rollouts.
    The other settings but `refit-continue` are the lookahead's."""
    sees: Literal["feature", "decoded"] = "feature"
    """What actors and critics see: the latent feature, or what the model's decoder makes of it (probabilities of
    categories, and vectors; the feature where all that is observed are pictures). Decoded, a state looks the same
    however its latents were drawn. With `model.latent cells` it is the feature, seen from where the agent stands."""
    discount: Share = 0.95
    """γ."""
    temperature: Positive = 0.02
    """Of the Boltzmann policy, as a share of the 5–95 % range of values (of at least `behaviour.return_floor`)."""
    critic: Detail[Literal["gaussian", "twohot"]] = "gaussian"
    """Distribution of the critic."""
    slow_rate: Detail[Share] = 0.05
    """Share of the live critic that its slow copy, which values the next states, takes over in an update."""
    starts: NotNegativeInt = 64
    """States of a batch, drawn with replacement, from which policies walk in imagination; 0 = all of them."""
    horizon: NotNegativeInt = 5
    """Steps they walk. What is looked ahead from are the start states and those they come to."""
    refit_continue: Detail[bool] = False
    """Train a copy of the continue head beside the reward heads."""
    units: Detail[tuple[Count, ...]] = ()
    """Hidden units of actors and critics; none = those of section `behaviour`, which the explorer has too."""


@dataclass(frozen=True)
class EvalConfig(Settings, section="evaluation"):
    """Evaluation of task policies and of the world model."""

    every: NotNegativeInt = 0
    """Agent steps between evaluations during training; 0 = only at the end."""
    episodes: Count = 100
    """Episodes of the DR suite for each task (paper: 100); finite θ spaces spread them evenly by DR weight."""
    suite_episodes: Count = 20
    """Episodes of every other suite for each task."""
    planned_episodes: NotNegativeInt = 100
    """Episodes of each suite in which a plan in the learned model is valued, for families that offer their tables
    (`tabular`); 0 = none. They are the first of those that the policies play, evenly over θ, and of DR further ones
    where more are asked for; each θ of a finite space has two at least (at most 200 θ)."""
    model_episodes: Count = 4
    """Held-out episodes per θ (at most 200) and source of actions for the model's error; two tell their order."""
    actions: Literal["mode", "sampled"] = "mode"
    """How task policies act in episodes: by the likeliest action on the likeliest latents (a learned policy's return is
    then its exact value where nothing else is left to chance), or by actions and latents drawn as they believe. Where
    values are nearly alike, a likeliest action may go round in circles that chance leaves."""
    sources: tuple[Literal["random", "explorer", "tasks"], ...] = ("random", "explorer", "tasks")
    """Who acts in them: uniform random actions, and the explorer and the task policies of the reference run."""
    reference: str = ""
    """Folder of a finished run whose policies act in held-out episodes, the same for all runs that are compared;
    empty = only random actions. Kept as a full path; the same run may be named at another place later."""
    horizon: Count = 10
    """Open-loop steps k of the k-step model error."""
    samples: Count = 128
    """Latent samples behind a predicted distribution. Few make total variation noisier but not larger, and the
    likelihood of what was seen a little too small. Plans take 32 at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.sources)) < len(self.sources) or not self.sources:
            raise UserError(f"evaluation.sources must be different names, at least one, not {list(self.sources)}")
        if not self.reference and "random" not in self.sources:
            raise UserError("evaluation.sources without 'random' need evaluation.reference, a run whose policies act")


@dataclass(frozen=True)
class Config(Settings):
    """Everything that defines a run."""

    preset: str = ""
    """Settings to start from; every other option overrides one of them. `paper` and `authors` hold what was published
    for the environment's domain; `paper-terrain`, `paper-cleanup`, `paper-combined` (and `authors-…`) one domain's
    numbers for whatever environment."""
    env: str = "waker/GridHazards-v0"
    """Environment id (`waker envs` lists them)."""
    env_kwargs: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    """Arguments of the environment's constructor: `--env-kwargs obs=pixels n_layouts=2`."""
    longest_episode: NotNegativeInt = LONGEST
    """Steps after which an episode that has not ended is cut (truncated), in training and in evaluations; 0 = never,
    for environments that always end."""
    name: str = ""
    """What this variant of the settings is called beside its sampler: in its folder, and in tables and figures."""
    seed: NotNegativeInt = 0
    """Seed of everything: weights, episodes, curriculum, actions."""
    device: str = "cpu"
    """Torch device of the learner: cpu, cuda, cuda:1 …"""
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)
    explorer: ExplorerConfig = field(default_factory=ExplorerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    evaluation: EvalConfig = field(default_factory=EvalConfig)
    sinks: tuple[str, ...] = ("jsonl",)
    """Where metrics go, besides the progress line: jsonl, wandb, tensorboard, a logger of another package, or
    file.py:Class. One with settings of its own has options: `--sinks.wandb.project NAME`."""
    sink_settings: Unoffered[dict[str, str | int | float | bool | tuple[str | int | float | bool, ...] | None]] = field(
        default_factory=dict
    )
    """Those settings by logger and name, `wandb.project`; they may differ on a resume, as `sinks` may."""

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = "model.head_units", "model.continue_units", "behaviour.actor_units", "behaviour.critic_units"
        for name in (*layers, "explorer.units"):
            if self.model.latent == "cells" and not attrgetter(name)(self):
                raise UserError(f"{name} must name at least one layer with model.latent 'cells': that of a single cell")

    def with_(self, **changes: Any) -> Config:
        """A copy with other values: ``with_(seed=3, sampler="dr", train={"steps": 400}, **{"model.deter": 64})``.

        See :func:`waker.config.changes.changed`.

        Raises:
            UserError: a name or a value that is not valid; or ``preset``, which settings begin with.
        """
        if changes.get("preset", self.preset) != self.preset:
            raise UserError(f"preset: these settings began with {self.preset!r}; waker.preset({changes['preset']!r}) "
                            "begins with others")  # fmt: skip
        return changed(self, changes)
