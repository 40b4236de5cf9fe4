"""`ld4mrec compare` from the source tree."""

import sys

from ld4mrec.commands.compare import main

if __name__ == "__main__":
    sys.exit(main())
