"""What a plant works with: the HTTP API."""
