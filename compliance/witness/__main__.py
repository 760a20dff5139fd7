"""`python -m compliance.witness`: be a witness, without Django and without the product."""

import sys

from compliance.witness.cli import main

if __name__ == "__main__":
    sys.exit(main())
