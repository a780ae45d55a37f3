"""What all MuJoCo families share: the simulator, a working renderer, pictures, checked actions."""
