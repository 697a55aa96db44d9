"""The data marketplace: who may find, ask for and read which data; see docs/mesh.md."""
