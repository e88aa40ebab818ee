"""`python -m engine.lab`: the embedded vSphere alone."""

import sys

from engine.lab.runner import main

sys.exit(main())
