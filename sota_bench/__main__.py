"""``python -m sota_bench``."""

import sys

from sota_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
