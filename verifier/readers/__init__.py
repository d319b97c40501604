"""The verifier's own plain readers of machines."""
