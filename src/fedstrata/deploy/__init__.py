"""What runs at the sites and around them: the sites' own side, and the Flower app that joins them to the server."""
