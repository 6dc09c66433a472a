"""Models: loading, division into layers, heads, adapters, export, and what a step costs."""
