"""Who supplies machines: network namespaces, loopback addresses, EC2."""
