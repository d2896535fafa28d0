"""The audit log: who did what, from where, with which result; a chain in which every alteration is found."""
