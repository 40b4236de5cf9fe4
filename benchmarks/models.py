"""`python benchmarks/models.py`: what each model costs; see baselines.py."""

import sys
from pathlib import Path

if __name__ == "__main__":
    from baselines import main

    sys.exit(main())

# src/models has no __init__.py, so wherever this folder is on the path, `import models` finds this
# file instead: it stands for that folder
__path__ = [str(Path(__file__).resolve().parents[1] / "src" / "models")]
