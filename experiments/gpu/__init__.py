"""Everything that only a GPU can tell, from one command: ``make gpu``, or ``python -m experiments.gpu``."""
