"""Loggers by name, one file each; found by :mod:`waker.loggers.registry`."""
