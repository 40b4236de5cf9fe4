"""Data sets as the host reads them."""
