"""The settings of a run: typed dataclasses, presets, published numbers, and which of them may change on a resume.

Read by every room above. May import the settings of curricula and the ground.
"""
