"""The samplers by name. Every module here is imported on the first look-up: one more sampler is one more file."""
