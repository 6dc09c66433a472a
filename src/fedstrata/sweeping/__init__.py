"""Sweeps: many runs of one file, played by workers."""
