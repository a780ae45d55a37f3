"""What :func:`waker.curriculum.checker.check_curriculum` asks of a sampler, one subject a file. Called by it alone."""
