"""Impulse responses of shoebox rooms: random rooms, image sources, ray tracing, and checks for convergence."""
