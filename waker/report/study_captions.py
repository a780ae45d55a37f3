"""What a reader should see in each table and figure of a study's page. Used by :mod:`waker.report.study_sections`."""

from __future__ import annotations

from waker.report.captions import CUT, OTHER_EPISODES

SUMMARY_LEAD = (
    "All tasks together: means over tasks, and the worst of all pairs of task and θ. Episodes of domain randomisation, "
    "deterministic policies."
)
DIFFERENCES_LEAD = (
    "What a sampler has more than {baseline} (+) or less (−), in pairs of runs that share domain, explorer and "
    "training seed, and with it first weights, episodes and evaluation. Seeds are the unit."
)
DIFFERENCES = (
    "In brackets Student's 95 % interval of the mean difference. p: of the two-sided paired t test, corrected by Holm "
    "over the {tests} of this table, which are the family (a primary quantity has a family of its own where it "
    "is named: --quantities). Bold: it is below {alpha}. Detectable: the true difference that this number of pairs, "
    "with this spread, would have found with probability {power}: what is smaller than that and is not shown is not "
    "shown to be absent. pp: percentage points. ↓ lower is better."
)
TESTS = (
    "p values are two-sided, of the paired t test and of the permutation test that flips signs (all 2ⁿ flips up to "
    "{exact} pairs, else {draws} drawn); in parentheses they are corrected by Holm. Power: the probability of finding "
    "a true difference as large as the observed one; it repeats what p says."
)
UNTESTED = (
    "In brackets Student's 95 % interval of the mean difference, where there is one. Nothing is tested: {why}. pp: "
    "percentage points. ↓ lower is better."
)
PAIRS = f"Small dots: the difference of each pair. Large dots: their mean, with Student's 95 % interval. {CUT}"
PARTS_LEAD = (
    "The policy that is optimal in the learned model has no actor between it and the data: its regret in the true "
    "environment is the model's part. What the learned policy loses beyond that is the actor's."
)
PARTS = (
    "Upper bar of a sampler: the model's part. Hatched bar below it: the actor's part, from there to the whole "
    "regret; one that goes back to the left is an actor that does better than planning in its model. Dots: the whole "
    f"regret of each seed, the line its Student's 95 % interval. {OTHER_EPISODES} {CUT}"
)
DISTRIBUTIONS_LEAD = (
    "The distribution of scores over runs and tasks (Agarwal et al. 2021); whole runs are the unit of every interval."
)
IQM = (
    "The mean of the middle half of all runs × tasks. In brackets the studentised 95 % interval (jackknife over whole "
    "runs, Student's quantile)."
)
IMPROVEMENT = (
    "How often a random run beats a random run of the baseline, ties counting half, mean over tasks. In brackets "
    "Newcombe's 95 % interval with whole runs as the unit."
)
PROFILES = (
    "The share of runs × tasks that score above τ: a curve above another is better everywhere. Bands: Student's 95 % "
    "interval over runs at each τ; where all runs agree they have no width."
)
SHARES_LEAD = (
    "Share of the episodes that ended in each tenth of the training, by groups of θ. “Most sampled θ” is the one that "
    "a run chose most often in that tenth, whichever it was: near 100 %, the sampler has collapsed onto it."
)
SHARES = "Lines: mean over seeds; bands: Student's 95 % interval."
