import sys

import support

sys.path.insert(0, str(support.ROOT / "benchmarks"))
