"""Highly available Spark clusters on instance fleets: Amazon EMR's model, on any machine."""
