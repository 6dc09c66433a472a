"""The Flower app: what runs inside Flower's ServerApp and ClientApp, and what starts and stops a trial of both."""
