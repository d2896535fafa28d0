"""What every test gets."""

import os
import sys
from pathlib import Path

from hypothesis import settings

# The tools that setup puts beside this Python are found, also when its environment is not activated.
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))

# No test is timed: two busy cores must not fail one. CI draws the same examples every time; a desk draws new ones.
settings.register_profile("lockstep", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lockstep")
