"""Small raw downloads in the true formats, with every known defect and tastes planted in them."""
