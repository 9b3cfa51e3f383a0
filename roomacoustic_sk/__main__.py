"""`python -m roomacoustic_sk`: the command line."""

import sys

from roomacoustic_sk.cli import main

if __name__ == "__main__":
    sys.exit(main())
