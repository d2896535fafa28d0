"""Ports for nodes under test: two programs that ask at once are never given the same one."""

import socket
import subprocess
import sys

import pytest

from hil import ports
from hil.ports import PortError, check_port, free_port
from tests.hil.jobs import ROOT

ASK = "from hil.ports import free_port\nprint(*[free_port() for _ in range(300)], flush=True)\ninput()"


def test_programs_that_run_at_once_are_never_given_the_same_port() -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", ASK], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    given = []
    for program in running:
        assert program.stdout is not None
        given.append(set(map(int, program.stdout.readline().split())))
    for program in running:
        program.communicate("\n")
        assert program.returncode == 0
    assert all(len(mine) >= 100 for mine in given)
    assert sum(map(len, given)) == len(set.union(*given))


def test_a_port_comes_round_again_only_after_all_the_others() -> None:
    first = free_port()
    others = [free_port() for _ in range(ports.BLOCK)]
    assert first not in others and len(set(others)) == len(others)


def test_a_port_where_something_listens_is_passed_over_and_refused_for_a_node() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        assert port not in {free_port() for _ in range(ports.MOST * ports.BLOCK)}
        with pytest.raises(PortError, match=f"node belt can't listen at 127.0.0.1:{port}"):
            check_port("belt", "127.0.0.1", port)
