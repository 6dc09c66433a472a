"""A run's folder: the names in it, what is written to it and what is read from it again."""
