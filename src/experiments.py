"""`ld4mrec experiments` from the source tree."""

import sys

from ld4mrec.commands.experiments import main

if __name__ == "__main__":
    sys.exit(main())
