"""What a reader should see in each figure and table. Used by :mod:`waker.report.sections`."""

from __future__ import annotations

import re

from waker.analysis.summary import FEW as FEW_NUMBERS
from waker.analysis.summary import FEW_TOLD

_ERRORS = {
    r"one_step_tv": "one-step TV",
    r"open_loop_tv_(\d+)": "open-loop TV, {} steps",
    r"tv_(.+)_(\d+)": "TV of {}, {} steps",
    r"latent_kl_(\d+)": "latent KL, {} steps",
    r"observation_nll_(\d+)": "observation NLL, {} steps",
    r"observation_mse_(\d+)": "observation MSE, {} steps",
}
"""Names of the model's errors by their metric in ``model_error.parquet``."""


def error_title(metric: str) -> str:
    """An error's name in a figure: ``open-loop TV, 3 steps`` of ``open_loop_tv_3``; a foreign one has its own."""
    for pattern, title in _ERRORS.items():
        if found := re.fullmatch(pattern, metric):
            return re.sub(r"\b1 steps$", "1 step", title.format(*found.groups()))
    return metric.replace("_", " ")


CUT = (
    "Axes are chosen by the dots: an interval that goes on beyond its axis is cut there, with an arrow. Dashed "
    f"intervals are of fewer than {FEW_NUMBERS} numbers, only as good as the normal distribution that they assume."
)
INTERVAL = (
    "Bars are Student's 95 % intervals: over seeds where there are several (small dots), else over the episodes of the "
    f"one run. {CUT}"
)
SEEDS = "In square brackets Student's 95 % interval over seeds: whole runs are the unit."
FEW = f" {FEW_TOLD}: wide, and only as good as the normal distribution that it assumes, which so few cannot check."
ONE_SEED = "One seed: no interval over seeds."
EPISODES = " Behind a worst case's bracket the 95 % interval over the episodes of the one run, simultaneous over θ."
SUMMARY_LEAD = (
    "All tasks together: means over tasks, and the worst of all pairs of task and θ. Episodes of domain randomisation, "
    "deterministic policies, at the last step at which all runs were measured (else see the note)."
)
SUMMARY = (
    "Bold: better than every other sampler of the row at 95 %: intervals lie apart, or that of the differences of "
    "paired seeds excludes 0 (not corrected for the number of rows; never of one seed). CVaR 0.1 over "
    "episodes is the mean return of the worst 10 % of episodes, hard θ and bad luck together; over θ, the mean "
    "expected return of the worst 10 % of θ; a worst θ, the largest expected value of any. What is worst must be "
    "chosen among noisy means, so two estimates in italics bracket it: chosen on one half of the episodes and "
    "scored on the other (optimistic, the first), and chosen and scored on the same episodes, which takes bad luck for "
    "hardness (pessimistic); the number above them is corrected by the jackknife over episodes. “(plug-in)”: only the "
    "pessimistic one is known. ↓ lower is better."
)
SUMMARY_REGRET = " Regret is against the exact optimum."
EXACT = (
    " Where a policy's value is known exactly it stands for the return of its episode, except in CVaR over episodes; "
    "“episodes of exact value” says how often."
)
OTHER_EPISODES = (
    "The model's part is over all layouts and starts of each θ where these are counted, the actor's over the evaluated "
    "episodes: their sum need not be the mean regret, which is of the evaluated episodes alone."
)
PARTS = (
    " A plan is the best policy of the learned model's own table, by dynamic programming, and is valued in the true "
    "dynamics without dice: its regret is the model's part. What it is worth more than the learned policy is the "
    f"actor's part (below 0: the actor makes up for errors of the model). {OTHER_EPISODES}"
)
CURRICULUM_LEAD = (
    "Which environments were chosen, and whether for good reason. Maps average over seeds; colours start at zero "
    "(for estimates: at the smallest). A dot: no such number for this θ, which was never visited or not measured."
)
PROBABILITY = (
    "How likely each θ is to be the next episode's, at the end of training. Darker than its neighbours: the "
    "curriculum is drawn to it."
)
ESTIMATE = (
    "The curriculum's running estimate of the model's error: disagreement of the ensemble about imagined steps, as "
    "published, or about the replay's own where a run is called “(replayed credit)”. Only its order over θ matters."
)
TRUE_ERROR = (
    "The model's true error on held-out trajectories ({metric}, explained below the curves of World model). Where the "
    "estimate is right, the dark cells of both maps agree."
)
DATA = "Share of the domain's agent steps that were spent in each θ, prefill included."
HARD_MARKED = " Framed in orange: θ that experts call hard."
HARD = "Probability that the next episode is one of the {count} θ that experts call hard."
SUITES = (
    "Mean return in each suite of θ. Suite dr is the distribution of domain randomisation, the others lie outside it; "
    "colours are samplers, of which the one called dr trained on that suite alone. "
    f"{INTERVAL} Dotted: uniform random actions."
)
REGRET = (
    "Regret against the exact optimum of each episode; 0 is perfect, and no interval goes on below it. The rightmost "
    "dot of a panel is the worst θ, which a robust agent keeps small; being chosen for it, it reads too far to the "
    f"right (the summary brackets it). θ that no evaluated episode had are left out. {INTERVAL}"
)
PLANNED = (
    "Regret of the plan that the learned model believes to be best, exact in each episode: what the data bought, with "
    f"no actor in between. {INTERVAL}"
)
RETURNS = f"Mean return for each θ. {INTERVAL}"
RETURNS_SORTED = (
    "Mean return of every θ, from the smallest to the largest: the left end is the robustness. Sorting takes bad luck "
    "for hardness, so with few episodes a θ both ends are too far out."
)
ERRORS = (
    "Error on held-out episodes of every θ. TV: total variation from the exact distribution (0 perfect, 1 worst); "
    "KL: surprise in the model's own latent, in nats; NLL and MSE: of the decoded observation. The number is how "
    "many steps are predicted without seeing. Solid: mean over θ; dashed: the worst θ, where curricula differ first, "
    "corrected for being chosen among noisy means (where single episodes were not kept it is the largest mean, which "
    "reads too high). Lines are means over seeds, thin ones the seeds."
)
RANKS = (
    "Spearman's correlation over θ between the curriculum's estimate and the true error: 1 = the same order, 0 = "
    "none. Read it on dr runs: a curriculum that works equalises the very error it ranks. Dotted: the ceiling. The "
    "true error is measured on a few episodes, and no estimate can be expected to agree with it better than this (√ of "
    "the agreement of its two halves, corrected for their length)."
)
SOURCES = (
    "The same error apart by who acted in the held-out episodes: uniform random actions, or the explorer and the task "
    "policies of the reference run, the same for all runs. Solid: mean over θ; dashed: the worst θ."
)
FILM_LEAD = (
    "Held-out episodes. The model sees the first frames (pale: its reconstructions), then goes on alone with the "
    "actions really taken. Symbolic pictures mix colours by probability: blurred is unsure; sharp and different "
    "from the real row is wrong."
)
FILM = "Above: what happened. Below: what the model expected to see."
CURVES = (
    "Training metrics. Thin lines are seeds, thick ones their mean. credit: the mean disagreement that a "
    "batch credits to its θ. Behind the last agent step: updates of task policies alone, which take no step, drawn at "
    "the training's own number of steps an update."
)
