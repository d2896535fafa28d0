"""Plans of faults, and campaigns that draw them."""
