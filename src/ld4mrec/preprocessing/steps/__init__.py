"""The steps that the data sets' commands share, from raw rows to the files of a data folder."""

import sys
from pathlib import Path

# the commands share the host's small helpers (utils.files, utils.errors, utils.progress)
SOURCE = str(Path(__file__).resolve().parents[2] / "src")
if SOURCE not in sys.path:
    sys.path.append(SOURCE)
