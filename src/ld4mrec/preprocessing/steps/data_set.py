"""What a data set brings to its command."""


class DataSet:
    """A data set's own part of its command; the classes of tmall.py, microlens.py and hm.py.

    name: as in published.TABLE_1. time_unit: of Interactions.times. zone: what is known about the
    times' zone. image_hint: where images come from, for the message that there are none.
    """

    name = ""
    title = ""
    time_unit = "s"
    zone = "UTC"
    text_encoder = ""
    image_encoder = "efficientnet-lite0"
    image_hint = ""
    subsampled = True  # the paper used a part of the download

    def add_arguments(self, parser):
        """Options that only this data set has."""

    def check(self, options):
        """UserError for options that cannot be; called before anything is read."""

    def interactions(self, options, report):
        """Read the raw rows: distinct Interactions, and records of the files read."""
        raise NotImplementedError

    def side_files(self, options, items, report):
        """Write what the options ask for beside the data folder; items: original ids."""

    def texts(self, options, items, report):
        """Text of each original id, None where there is none; and records of the files read."""
        raise NotImplementedError

    def images(self, options):
        """Where the images come from (prepare.images), or None if there are none."""
        raise NotImplementedError
