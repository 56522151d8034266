"""Grids of runs: their cells, what they would cost, and the engines that train them here or on a Ray cluster."""
