"""A run from its settings to its end: build, loop, session, measurements, adaptation afterwards.

Called by :mod:`waker.cli`. May import every room but analysis, report, sweep and cli.
"""
