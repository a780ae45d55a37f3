"""CleanUp and CarCleanUp: a robot sorts coloured blocks in a walled arena. ``arena`` also serves the grid version."""
