"""The factory's OPC UA face: a process of its own that follows the Feed. Started as `python -m controller.opcua`."""
