"""Small made-up raw downloads. Code: src/ld4mrec/preprocessing/sample.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from ld4mrec.preprocessing.sample import main

if __name__ == "__main__":
    sys.exit(main())
