"""`python -m compliance.client`."""

import sys

from compliance.client.cli import main

sys.exit(main())
