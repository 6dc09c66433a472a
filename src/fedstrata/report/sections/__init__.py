"""The report's sections in reading order: one file each, from runs to blocks."""
