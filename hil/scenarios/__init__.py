"""Scenarios: what is done to a factory, and the requirements that judge what came of it."""
