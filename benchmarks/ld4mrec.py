"""`python benchmarks/ld4mrec.py`: what LD4MRec costs; see light_diffusion.py."""

import sys
from pathlib import Path

if __name__ == "__main__":
    from light_diffusion import main

    sys.exit(main())

# where this folder comes before src on the path, this file stands for the package of its name
__path__ = [str(Path(__file__).resolve().parents[1] / "src" / "ld4mrec")]
