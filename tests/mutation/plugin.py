"""For pytest: the first failure is enough, and nodes run the firmware folder that the environment names."""

import os
from pathlib import Path

from hypothesis import Phase, settings

from tests.mutation.targets import NAMED_BY, PROFILE

# Nobody reads the example, so none is made small; and the same ones come every time.
settings.register_profile(PROFILE, deadline=None, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate))

if named := os.environ.get(NAMED_BY):
    from hil import targets
    from tests.firmware import rig

    targets.FIRMWARE = rig.FIRMWARE = Path(named)
    rig.PATIENCE_S = 5.0  # nobody waits long for a node that is broken
