"""The engine over Flower (extra ``flower``): requests and replies as Flower messages."""
