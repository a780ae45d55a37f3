"""What happens to a run when everything around it goes wrong? See :mod:`experiments.faults.__main__`."""
