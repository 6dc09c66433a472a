"""Scores: a layer's gradient statistics as one number."""
