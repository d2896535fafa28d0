"""The link to a client: bytes in, requests out, and the way back: transport, secure channel, sessions, discovery."""
