"""Measuring an agent in environments: episodes, plans, model errors, film strips; each as tidy rows.

Called by :mod:`waker.training` and :mod:`waker.cli`. Numbers from rows are :mod:`waker.analysis`.
"""
