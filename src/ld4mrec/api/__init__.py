"""`import ld4mrec`: what a notebook or a program calls. The names are stable: docs/api.md."""
