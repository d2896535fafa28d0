"""Machines that do not run our firmware: the controller holds the registers that a node would have."""
