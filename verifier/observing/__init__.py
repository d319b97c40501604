"""Touching the world: what is seen at machines, edges and cloud, written down as it came."""
