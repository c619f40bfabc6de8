"""Starts a worker and ends with its exit code: `make worker`."""

import sys

from .worker import main

sys.exit(main())
