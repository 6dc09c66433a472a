"""Engines: where requests to clients are carried out: in this process, in worker processes, over Flower."""
