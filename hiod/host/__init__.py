"""The daemon's contact with the machine: processes, the state file, systemd, the journal."""
