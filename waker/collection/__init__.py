"""Environments at work: made from an id, held in slots (here or in worker processes), stepped into the replay.

Called by :mod:`waker.training`; evaluation plays its episodes in the same slots. Workers import no torch.
"""
