"""Scores: one number per θ, from the running estimate of the model's error or from any quantity of the learner's."""
