"""Studies: many runs from one file, started, resumed, collected and counted. For ``waker sweep``.

:mod:`~waker.sweep.study` reads the file and lists its runs, :mod:`~waker.sweep.launchers` start them here or on a
cluster, :mod:`~waker.sweep.rows` keeps what they measured, :mod:`~waker.sweep.conduct` does all three until nothing is
left.
No module here imports torch.
"""
