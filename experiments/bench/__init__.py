"""What an update costs, and how near it comes to what the machine can do: ``python -m experiments.bench``.

``configs`` names what is measured; ``timing`` times updates with the machine's own speed measured in between; ``parts``
says where the time goes; ``memory`` runs a measurement in a fresh process; ``loop`` runs the training loop; ``store``
saves, and compares with what was saved.
"""
