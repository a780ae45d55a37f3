"""Level replay over a finite θ space: new θ or replayed ones, their staleness, their edits and settings."""
