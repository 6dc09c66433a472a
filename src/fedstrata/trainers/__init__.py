"""How clients train: one algorithm per file, around the loop of ``client/train.py``."""
