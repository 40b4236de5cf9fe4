"""`ld4mrec plug` from the source tree."""

import sys

from ld4mrec.commands.plug import main

if __name__ == "__main__":
    sys.exit(main())
