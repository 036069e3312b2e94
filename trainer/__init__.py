"""Data ▸ network ▸ a model file with its contract, and the evidence for it."""
