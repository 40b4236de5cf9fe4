"""Your own data: a table to a data folder. Code: src/ld4mrec/preprocessing/own.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from ld4mrec.preprocessing.own import main

if __name__ == "__main__":
    sys.exit(main())
