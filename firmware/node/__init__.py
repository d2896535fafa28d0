"""The generic node: what it is comes from node.json alone."""

RELEASE = "0.1.0"
