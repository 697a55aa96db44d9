"""Where whole-bucket work runs: one port, one adapter per place."""
