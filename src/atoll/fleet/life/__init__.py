"""The life of a cluster: observe, plan, act."""
