"""Nodes: what we hold of one and what it is told (`grant`), and how a Job gets there (`transfer`)."""
