"""The launcher, which forks hands, and the hand itself from its first breath to its last word."""
