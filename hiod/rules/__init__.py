"""The daemon's decisions: pure rules over frozen records."""
