"""The twin in other people's formats."""
