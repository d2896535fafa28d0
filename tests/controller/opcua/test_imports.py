"""What the server's process loads before it knows of a factory: it starts as fast as what it loads."""

import subprocess
import sys

import pytest

SLOW = ("numba", "ruckig", "twin.kernel", "twin.kinematics")


@pytest.mark.parametrize("module", ["controller.opcua.__main__", "twin.export", "twin.frames"])
def test_what_only_speaks_of_a_factory_loads_neither_a_compiler_nor_kinematics(module: str) -> None:
    ask = f"import sys, {module}; print([name for name in {SLOW} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=60)
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")
