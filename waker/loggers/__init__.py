"""Where the metrics of training go: JSON lines, Weights & Biases, TensorBoard.

Called by :mod:`waker.training`. wandb and tensorboard are imported when a run asks for them.
"""
