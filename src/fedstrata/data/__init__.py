"""Rows: read from files, made into tensors, and dealt to clients."""
