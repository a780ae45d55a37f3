"""Tasks given by preferences: pairs of replay segments, their answers, and who gives them. No torch.

Asked and answered by :mod:`waker.training.asking`; learned from by :mod:`waker.agent.preference_adapter`. One
convention holds: a label is the probability that the *first* segment is preferred.
"""
