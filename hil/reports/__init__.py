"""Traces as files, and results for people."""
