"""A board's raw REPL and file system, for tests: micropython (the unix port) emulated_repl.py ROOT, on its standard streams."""

import io
import os
import sys

source, sink = sys.stdin.buffer, sys.stdout.buffer
PROMPT = b"raw REPL; CTRL-B to exit\r\n>"


def run(code, names, root):
    try:
        text = code.decode().replace("os.stat('')", "os.stat('.')")
        if "sys.path[:]" in text:  # it names absolute places, and its top is not this system's
            text = text.replace('"/', '"' + root + "/")
        exec(text, names)
    except Exception as failed:
        text = io.StringIO()
        sys.print_exception(failed, text)
        return text.getvalue().encode()
    return b""


def serve(root):
    os.chdir(root)
    raw, code, names = False, b"", {}
    while True:
        one = source.read(1)
        if not one:
            return
        if one == b"\x01":
            raw, code = True, b""
            sink.write(PROMPT)
        elif one == b"\x02":
            raw = False
        elif one == b"\x03":
            code = b""
        elif not raw:
            sink.write(b"\r\n>>> " if one == b"\n" else b"")
        elif one == b"\x05":  # raw paste: not here
            source.read(2)
            sink.write(b"R\x00")
        elif one == b"\x04" and code.strip():
            sink.write(b"OK")
            said = run(code, names, root)
            code = b""
            sink.write(b"\x04" + said + b"\x04>")
        elif one == b"\x04":
            names = {}
            os.chdir(root)
            sink.write(b"OK\r\nMPY: soft reboot\r\n" + PROMPT)
        else:
            code += one


serve(sys.argv[1])
