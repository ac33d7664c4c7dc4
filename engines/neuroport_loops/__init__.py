"""Loops over time and products with events on a CPU, compiled by numba: what the engines that run there share."""
