"""A file of rows as it stands, CSV, JSON lines or Parquet, as one table of raw columns."""
