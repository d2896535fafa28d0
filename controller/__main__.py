"""The command line `lockstep`, and where its parts are put together."""

import argparse
import asyncio
import getpass
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from controller import archive_commands, asking
from controller.audit import asked as audit_command
from controller.history import asked as history_commands
from controller.mirror import commands as mirror_commands
from controller.modbus import commands as modbus_commands
from controller.nodes import commands as node_commands
from controller.opcua.trust import commands as trust_commands
from controller.orders.order import OrderError
from controller.programs import check_name
from controller.shadow import asked as calibrate_command
from controller.users import Role, UserError, Users
from twin import motion
from twin.factory import Factory, FactoryError, Machine, read
from twin.machines.printer.job import planned
from twin.making import Asked, making
from twin.motion.findings import Refusal
from twin.recipes import arguments_of

DEMO = Path(__file__).parent / "demo"
DEMO_FACTORY = DEMO / "factory.toml"


class UsageError(Exception):
    """What was asked for can't be done; one line says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["hil"]:  # the rig is a program of its own, which the controller knows nothing of
            return subprocess.call([sys.executable, "-m", "hil", *words[1:]])
        options = _parser().parse_args(words)
        code = int(options.do(options))
        sys.stdout.flush()
        return code
    except FactoryError as wrong:
        for mistake in wrong.mistakes:
            print(mistake, file=sys.stderr)
        return 1
    except (UsageError, UserError, motion.JobError) as unusable:
        print(f"lockstep: {unusable}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read what we said has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lockstep", description="A small factory: nodes, twin, OPC UA.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a factory; without a file the demo, which prints a cube and ends")
    run.add_argument("factory", type=Path, nargs="?", help="factory.toml")
    run.add_argument("--speed", type=float, help="factory time per wall time, 0 for as fast as it goes (1; the demo 0)")
    run.add_argument("--order", type=Path, metavar="FILE", help="place an order for this program at the start")
    run.add_argument("--recipe", help="the order's recipe (the first in the file)")
    run.add_argument("--state", type=Path, metavar="DIR", help="where state is kept (.lockstep/NAME)")
    run.set_defaults(do=_run)

    check = commands.add_parser("check", help="name every mistake in a factory file")
    check.add_argument("factory", type=Path)
    check.set_defaults(do=_check)

    plan = commands.add_parser("plan", help="plan a program and say what came of it")
    plan.add_argument("program", type=Path)
    plan.add_argument("--factory", type=Path, default=DEMO_FACTORY, help="whose machines (the demo's)")
    plan.add_argument("--machine", help="under whose limits (the first that plans Jobs)")
    plan.add_argument("--json", action="store_true", help="one JSON object")
    plan.set_defaults(do=_plan)

    node_commands.add_to(commands)
    history_commands.add_to(commands)
    archive_commands.add_to(commands)
    modbus_commands.add_to(commands)
    mirror_commands.add_to(commands)
    trust_commands.add_to(commands)
    asking.add_to(commands)
    audit_command.add_to(commands)

    calibrate_command.add_to(commands)

    commands.add_parser("hil", help="hardware in the loop: scenarios, fault plans, campaigns", add_help=False)

    user = commands.add_parser("user", help="who may log in to the OPC UA server")
    user.add_argument("--state", type=Path, metavar="DIR", required=True, help="the running factory's state")
    actions = user.add_subparsers(required=True, metavar="ACTION")
    roles = [role.name.lower() for role in Role]
    for name, action, described in (
        ("add", _user_add, "make a user"),
        ("passwd", _user_passwd, "give a user another password"),
        ("role", _user_role, "give a user another role"),
        ("list", _user_list, "who there is"),
    ):
        found = actions.add_parser(name, help=described)
        if name != "list":
            found.add_argument("name")
        if name in ("add", "role"):
            found.add_argument("role", choices=roles)
        found.set_defaults(do=action)
    return parser


def _run(options: argparse.Namespace) -> int:
    from controller.run import Run, run

    demo = options.factory is None
    path: Path = DEMO_FACTORY if demo else options.factory
    factory = read(path)
    order: Path | None = DEMO / "calibration_cube.gcode" if demo and options.order is None else options.order
    if order is not None:
        _check_order(order)
    recipe = options.recipe or next(iter(factory.recipes), "")
    if order is not None and recipe not in factory.recipes:
        raise UsageError(f"--recipe {recipe!r}: the file has {', '.join(factory.recipes) or 'no recipes'}")
    speed = options.speed if options.speed is not None else (0.0 if demo else 1.0)
    state: Path = options.state or Path(".lockstep") / factory.name
    try:
        return asyncio.run(run(Run(path.resolve(), factory, state.resolve(), speed, order, recipe, demo)))
    except OSError as unusable:
        raise UsageError(f"--state {state}: {unusable}") from unusable


def _check_order(order: Path) -> None:
    if not order.is_file():
        raise UsageError(f"--order {order}: there is no such file")
    try:
        check_name(order.name)
        order.read_text(encoding="utf-8")
    except (OrderError, UnicodeDecodeError) as unusable:
        raise UsageError(f"--order {order}: {unusable}") from unusable


def _check(options: argparse.Namespace) -> int:
    from controller.feed import feed_signals
    from controller.history.bounds import kept
    from controller.history.kept import HistoryError

    factory = read(options.factory)
    try:
        kept(factory, feed_signals(factory))
    except HistoryError as unusable:
        raise UsageError(f"{options.factory}: {unusable}") from unusable
    on_devices = f", {len(factory.mirrored)} on {len(factory.devices)} devices" if factory.devices else ""
    print(
        f"{options.factory}: {factory.name} is sound: {len(factory.machines)} machines on {len(factory.nodes)} nodes{on_devices}, "
        f"{len(factory.recipes)} recipes"
    )
    return 0


def _plan(options: argparse.Namespace) -> int:
    factory = read(options.factory)
    machine = _planning(factory, options.machine)
    try:
        text = options.program.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failed:
        raise UsageError(f"{options.program}: cannot be read: {failed}") from failed
    found = _planned(factory, machine, text)
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            for line in value if isinstance(value, list) else [value]:
                print(f"{name:12} {Refusal(**line) if name == 'refusals' else line}")
    return 1 if found["refusals"] else 0


def _planned(factory: Factory, machine: Machine, text: str) -> dict[str, Any]:
    """What there is to say of a program: G-code by its plan, an arm's program, planned from home, by its Job."""
    assert machine.type.limits is not None, f"{machine.name} plans no Jobs"
    limits = machine.type.limits(machine.params)
    if isinstance(limits, motion.Limits):
        return planned(Asked(factory, machine, machine.type.capabilities[0], program=text)).summary()
    capability = machine.type.programs[0]
    asked = Asked(factory, machine, capability, arguments_of(machine.type, capability, ()), text, limits.home)
    try:
        job = making(machine.type).make(asked)
    except OSError as unusable:  # the kernels' cache folder
        raise UsageError(str(unusable)) from unusable
    except motion.JobError as refused:
        text = str(refused).removeprefix(f"line {refused.line}: ")
        one = Refusal(refused.line, refused.axis, refused.value, refused.limit, text)
        told = [asdict(refusal) for refusal in refused.refusals or (one,)]
        return {"duration_s": 0.0, "waiting_s": 0.0, "bytes": 0, "warnings": [], "refusals": told}
    made = {"duration_s": job.duration, "waiting_s": job.waiting, "bytes": len(job.data)}
    return {**made, "warnings": list(job.warnings), "refusals": []}


def _planning(factory: Factory, name: str | None) -> Machine:
    able = {m.name: m for m in factory.machines.values() if m.type.limits is not None}
    if name is None and able:
        return next(iter(able.values()))
    if name not in able:
        raise UsageError(f"--machine {name}: these plan Jobs: {', '.join(able) or 'none'}")
    return able[name]


def _users(options: argparse.Namespace) -> Users:
    return Users(options.state / "users.json")


def _new_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("new password: ")
    if first != getpass.getpass("once more: "):
        raise UsageError("the two are not the same")
    return first


def _user_add(options: argparse.Namespace) -> int:
    _users(options).add(options.name, Role.of(options.role), _new_password())
    return 0


def _user_passwd(options: argparse.Namespace) -> int:
    _users(options).set_password(options.name, _new_password())
    return 0


def _user_role(options: argparse.Namespace) -> int:
    _users(options).set_role(options.name, Role.of(options.role))
    return 0


def _user_list(options: argparse.Namespace) -> int:
    for name, user in _users(options).all.items():
        print(f"{name:20} {user.role}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
