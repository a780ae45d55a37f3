"""What a reader should see in each figure and table. Used by :mod:`waker.report.sections`."""

from __future__ import annotations

INTERVAL = (
    "Bars are 95 % bootstrap intervals: over seeds where there are several, else over the episodes of the one run."
)
SEEDS = "Below each mean its 95 % bootstrap interval over seeds."
ONE_SEED = "One seed: no interval."
SUMMARY_LEAD = (
    "All tasks together: means over tasks, and the worst task's worst θ. Episodes of domain randomisation, "
    "deterministic policies, at the end of each run."
)
SUMMARY = (
    "Bold: the best mean of a row (where intervals overlap, the runs do not show a difference). CVaR 0.1 is the mean "
    "of the worst 10 % of episodes; “over θ” chooses the worst 10 % of θ on one half of the episodes and scores them "
    "on the other, so that luck is not taken for hardness. ↓ lower is better."
)
SUMMARY_REGRET = (
    " Regret is against the exact optimum; “cross-fit” chooses the worst θ on one half of the episodes and scores it "
    "on the other."
)
CURRICULUM_LEAD = (
    "Which environments were chosen, and whether for good reason. Maps average over seeds; colours start at zero "
    "(for estimates: at the smallest)."
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
    "The model's true error on held-out trajectories ({metric}). Where the estimate is right, the dark cells of "
    "both maps agree."
)
DATA = "Share of the domain's agent steps that were spent in each θ, prefill included."
HARD = "Probability that the next episode is one of the {count} θ that experts call hard."
SUITES = (
    "Mean return in each suite: dr is what the curriculum trained on, the others are out of distribution. "
    f"{INTERVAL} Dotted: uniform random actions."
)
REGRET = (
    "Regret against the exact optimum of each episode; 0 is perfect. The rightmost dot of a panel is the worst θ, "
    f"which a robust agent keeps small. {INTERVAL}"
)
RETURNS = f"Mean return for each θ. {INTERVAL}"
RETURNS_SORTED = "Mean return of every θ, from the smallest to the largest: the left end is the robustness."
ERRORS = (
    "Error on held-out episodes of every θ. tv: total variation from the exact distribution (0 perfect, 1 worst); "
    "kl: surprise in the model's own latent, in nats; nll and mse: of the decoded observation. The number is how "
    "many steps are predicted without seeing. Solid: mean over θ; dashed: the worst θ, where curricula differ "
    "first. Lines are means over seeds, thin ones the seeds."
)
RANKS = (
    "Spearman's correlation over θ between the curriculum's estimate and the true error: 1 = the same order, 0 = "
    "none. Read it on dr runs: a curriculum that works equalises the very error it ranks."
)
FILM_LEAD = (
    "Held-out episodes. The model sees the first frames (pale: its reconstructions), then goes on alone with the "
    "actions really taken. Symbolic pictures mix colours by probability: blurred is unsure; sharp and different "
    "from the real row is wrong."
)
FILM = "Above: what happened. Below: what the model expected to see."
CURVES = (
    "Training metrics. Thin lines are seeds, thick ones their mean. credit: the mean disagreement that a "
    "batch credits to its θ."
)
