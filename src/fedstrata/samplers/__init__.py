"""Samplers: the clients of a round."""
