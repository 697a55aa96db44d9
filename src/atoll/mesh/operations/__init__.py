"""Operations: everything that can be asked of the mesh, and the one way that all of them go."""
