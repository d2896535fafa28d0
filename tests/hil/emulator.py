"""What looks like qemu-system-xtensa from outside, for tests: its "ESP32" is the unix MicroPython behind a TCP serial port."""

import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

from hil import micropython

REPL = Path(__file__).resolve().with_name("emulated_repl.py")


def main(arguments: list[str]) -> None:
    if arguments == ["-machine", "help"]:
        print("Supported machines are:\nesp32                Espressif ESP32 machine\nsim                  sim machine")
        return
    (place,) = re.findall(r"file=(.*)/flash\.bin", " ".join(arguments))
    (port,) = re.findall(r"tcp:127\.0\.0\.1:(\d+),server=on,wait=off", " ".join(arguments))
    root = Path(place) / "flash"
    root.mkdir(exist_ok=True)
    command = [*micropython.command(), "-X", "heapsize=208K", str(REPL), str(root)]
    board = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    serve(board, int(port))


def serve(board: "subprocess.Popen[bytes]", port: int) -> None:
    """Join one connection after the other to the board; what it says while there is none is lost."""
    assert board.stdin is not None
    now: list[socket.socket] = []
    threading.Thread(target=forward, args=(board, now), daemon=True).start()
    server = socket.create_server(("127.0.0.1", port))
    while True:
        link, _ = server.accept()
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        now[:] = [link]
        while data := link.recv(4096):
            board.stdin.write(data)


def forward(board: "subprocess.Popen[bytes]", now: list[socket.socket]) -> None:
    assert board.stdout is not None
    while data := board.stdout.read(4096):
        for link in now:
            try:
                link.sendall(data)
            except OSError:
                now.clear()


if __name__ == "__main__":
    main(sys.argv[1:])
