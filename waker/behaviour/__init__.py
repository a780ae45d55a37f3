"""Acting and learning to act: imagination, the stack of actor-critics, Plan2Explore's ensemble, players."""
