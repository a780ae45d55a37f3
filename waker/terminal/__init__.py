"""What a person sees and presses: output, progress, notices, signals.

Called by every room that speaks. Imports nothing but the ground.
"""
