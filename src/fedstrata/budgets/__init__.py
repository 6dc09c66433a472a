"""Budget rules: what each client may spend in a round."""
