"""What an aggregate tells of a window, by the name that people give it."""

AGGREGATES = ("average", "min", "max", "first", "last", "total", "count", "good")
