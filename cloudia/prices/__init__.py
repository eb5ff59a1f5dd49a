"""Prices: what a model's tokens and AWS' requests cost. Standard library only; data files are read when they are asked for."""
