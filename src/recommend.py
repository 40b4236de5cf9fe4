"""`ld4mrec recommend` from the source tree."""

import sys

from ld4mrec.commands.recommend import main

if __name__ == "__main__":
    sys.exit(main())
