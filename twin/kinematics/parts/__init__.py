"""Kernels for any robot; each runs in a robot's generated file, among the straight-line code that it calls."""
