"""TerrainWalker and TerrainHopper: planar robots of dm_control's suite on a height field. Imports nothing by itself."""
