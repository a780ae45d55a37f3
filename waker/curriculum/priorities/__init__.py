"""From scores to the next θ: priorities, their mixture with domain randomisation, and exact draws from both."""
