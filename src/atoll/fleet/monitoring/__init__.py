"""Measures of clusters over time, alarms on them, and who is told."""
