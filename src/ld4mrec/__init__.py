"""LD4MRec and its host: preparing data, training, comparing, recommending."""
