"""`ld4mrec train` from the source tree."""

import sys

from ld4mrec.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
