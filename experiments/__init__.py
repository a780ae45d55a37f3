"""Scripts that rebuild what ``results/`` holds: one script per table or figure, each run as a module."""
