"""Pure decisions about capacity: which machines, where, at what price."""
