"""Where the metrics of training go: JSON lines, Weights & Biases, TensorBoard, or a logger of another package.

Called by :mod:`waker.training`. wandb and tensorboard are imported when a run asks for them.
"""

from waker.loggers.means import Means as Means
from waker.loggers.not_finite import NotFinite as NotFinite
from waker.loggers.registry import make_sink as make_sink
