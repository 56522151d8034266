"""Datasets: finding, reading and checking images and labels."""
