"""Georeferenced rasters: the only door to rasterio."""
