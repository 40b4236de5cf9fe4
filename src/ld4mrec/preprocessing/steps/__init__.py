"""The steps that all sources share, from raw rows to the files of a data folder."""
