"""A small made-up data folder with known bounds. Code: src/ld4mrec/preprocessing/demo.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from ld4mrec.preprocessing.demo import main

if __name__ == "__main__":
    sys.exit(main())
