"""LD4MRec and its host."""
