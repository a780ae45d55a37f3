"""Acting and learning to act: imagination, the stack of actor-critics, lookahead, players."""
