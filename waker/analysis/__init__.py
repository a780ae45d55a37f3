"""From saved rows to numbers: returns, robustness, regret, model error, comparisons over training seeds.

Called by :mod:`waker.report` and :mod:`waker.cli`. Rows in, numbers out: no torch, no environment, no figure.
"""
