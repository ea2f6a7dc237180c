"""hiodctl: a person's or a script's words to the boss, and the boss's answers to them."""
