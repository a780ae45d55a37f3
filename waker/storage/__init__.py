"""A run on disk: its folder, checkpoints, tables of rows, checksums, and what damage leaves of them.

Called by training, analysis and the command line. Nothing that is read is executed.
"""
