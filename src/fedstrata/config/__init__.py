"""The configuration file: its keys, how it is read, and which class a kind names."""
