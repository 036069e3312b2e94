"""The drop folder ▸ results.csv."""
