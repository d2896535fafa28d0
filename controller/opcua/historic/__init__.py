"""HistoryRead: the past of Signals, from History's door, in a process of its own beside the server."""
