"""`python -m parallelnet`, the same as the `parallelnet` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
