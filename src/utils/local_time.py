"""The time as MMRec writes it into file names."""

from datetime import datetime

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def get_local_time() -> str:
    """Now, in local time, as 'Mon-DD-YYYY-HH-MM-SS'; the month in English whatever the locale."""
    now = datetime.now()
    return f"{MONTHS[now.month - 1]}-{now:%d-%Y-%H-%M-%S}"
