"""What runs on each instance of a cluster."""
