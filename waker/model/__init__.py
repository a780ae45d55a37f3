"""The world model in torch: RSSM, encoder, decoder, heads, distributions and optimiser.

Shape legend, used in comments throughout: ``B`` batch, ``T`` time, ``N`` start states, ``H`` horizon, ``K`` task
policies, ``M`` members of a stack, ``E`` ensemble heads, ``A`` action, ``D`` deter, ``S`` latents, ``C`` classes of a
latent, ``F = S·C + D`` feature.
"""
