"""Modbus TCP as our client speaks it: requests and replies (`pdu`), a link (`client`), what to ask a node (`plan`)."""
