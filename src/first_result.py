"""The table of `make demo`."""

import sys

from ld4mrec.commands.first_result import main

if __name__ == "__main__":
    sys.exit(main())
