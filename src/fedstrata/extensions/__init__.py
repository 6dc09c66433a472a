"""Components of the user's own: whether they have what their family needs, and return what it says."""
