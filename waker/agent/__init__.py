"""The learner: one update of world model, policies, ensemble and credits; and task policies after exploration.

Made by :mod:`waker.training`. May import model, exploration, behaviour, machine, config and the ground; no environment.
"""
