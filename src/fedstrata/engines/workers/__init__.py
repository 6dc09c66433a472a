"""Worker processes of one machine: how requests, weights and answers pass between them and the server."""
