"""Engines for tests of one's own: clients that are lost, late, doubled, damaged or lie by seed, and scripted answers."""
