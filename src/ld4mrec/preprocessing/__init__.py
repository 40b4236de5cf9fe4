"""From a raw download to a data folder: a loader per source, shared steps, made-up downloads."""
