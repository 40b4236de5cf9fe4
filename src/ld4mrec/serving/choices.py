"""What a finished run may be opened and asked with, for the command line."""

LISTED = 20  # items for each user
# What may differ from the run: where things are, and what computes.
FREE = ("data_path", "cache_dir", "use_gpu", "gpu_id", "threads", "eval_batch_size")
# --mask: how many of the splits hold items that a user is not recommended
MASKS = {"none": 0, "train": 1, "train+valid": 2, "all": 3}
