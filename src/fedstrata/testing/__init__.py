"""Engines for tests: clients that are lost, late, doubled, damaged or lie by seed, and answers from a script."""
