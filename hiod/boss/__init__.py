"""Process one: keeps the crew."""
