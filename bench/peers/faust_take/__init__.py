"""A contestant; see `main`."""
