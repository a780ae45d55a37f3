"""The explorers of this package, one file each; :mod:`waker.exploration.registry` imports them all."""
