"""Requirements over a Trace, and the verdicts on them."""
