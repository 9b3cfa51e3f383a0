"""Impulse responses of shoebox rooms: random rooms, image sources, rays, and responses checked for convergence."""
