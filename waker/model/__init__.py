"""The world model in torch: RSSM, encoder, decoder, heads, distributions and optimiser.

docs/shapes.md is the legend of shapes in comments and patterns: ``B`` batch, ``T`` time, ``N`` start states, ``F``
feature, ….
"""
