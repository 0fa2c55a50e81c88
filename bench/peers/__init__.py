"""The other contestants: a folder each, with requirements of its own where it needs them."""
