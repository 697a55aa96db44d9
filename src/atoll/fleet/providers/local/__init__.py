"""A cloud on this machine: machines are process groups (loopback) or namespaces (netns).

Reading order: world, inventory, ground, provider, loopback, netns, faults, gc.
"""
