"""Orders: what they are (`order`), what people ask of them (`requests`), their Jobs (`job`), their `book`."""
