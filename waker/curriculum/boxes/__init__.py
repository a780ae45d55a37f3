"""Curricula over a continuous θ space: domain randomisation, scores generalised by a kernel, buffers of levels."""
