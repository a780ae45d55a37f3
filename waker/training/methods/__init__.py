"""The methods that make a policy of answers, one file each; :mod:`waker.training.preference_methods` imports them."""
