"""Actors of a Ray cluster (extra ``ray``): how they are found, started, given weights and work, and replaced."""
