"""Tables as values, and one way each to write them for a terminal, as Markdown and as CSV; pages have a template."""
