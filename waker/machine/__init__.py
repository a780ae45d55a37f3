"""The machine under the learner: memory, processor kernels, precision, compiled and recorded updates.

Called by model, agent and training. Changes how fast a number comes, never which.
"""
