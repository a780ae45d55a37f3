"""The replay: rings of steps in memory, chunks of them on disk, batches (B, T) for the learner.

Filled by :mod:`waker.collection`, read by :mod:`waker.training`.
"""
