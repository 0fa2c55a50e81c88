"""What several test modules share: hostile traffic, an independent recomputation, processes."""
