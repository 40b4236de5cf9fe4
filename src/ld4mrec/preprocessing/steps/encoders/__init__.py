"""Encoders of item texts and images: one interface, chosen by name."""
