"""Grid families: small enough for a laptop, and for exact returns and regret."""
