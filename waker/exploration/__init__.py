"""What draws the explorer: intrinsic rewards, and the estimate of the model's error that credits θ.

Called by :mod:`waker.agent`. May import model and config.
"""
