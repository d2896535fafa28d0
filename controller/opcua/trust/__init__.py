"""Whom the server trusts: the list on disk, what a client's certificate is held to, and the standard's way to change both."""
