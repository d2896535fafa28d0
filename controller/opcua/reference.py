"""The docs' page of roles, made of what the server goes by: python -m controller.opcua.reference > docs/reference/opcua-roles.md"""

from collections.abc import Iterator
from typing import Final

from asyncua.ua.object_ids import ObjectIdNames

from controller.opcua.roles import ENCRYPTION_REQUIRED, GRANTS, OPERATIONS, RESTRICTIONS, WELL_KNOWN, May, Rule
from controller.users import Role

MEANS: Final[dict[Rule, tuple[str, str]]] = {
    Rule.OPEN: ("open", "types, machines, Signals, the server's own state: whatever is not below"),
    Rule.COMMAND: ("command", "methods of machines and of the factory: run, hold, print, place an order"),
    Rule.SETPOINT: ("setpoint", "Variables that are written for a machine"),
    Rule.DIAGNOSTICS: ("diagnostics", "what tells of other people's sessions and subscriptions"),
    Rule.SECURITY: ("security", "`ServerConfiguration` (certificates, trust list), security diagnostics, `RoleSet`, audit events"),
    Rule.OWN: ("own session", "methods that concern the caller's own session: `GetMonitoredItems`, `ResendData`"),
}
"""Each rule's name in the docs, and which nodes have it."""
PREFIX: Final = "WellKnownRole_"
WHO: Final[dict[Role, str]] = {
    Role.OBSERVER: "comes without a name (with a trusted client certificate), or is a user with this role",
    Role.OPERATOR: "user with this role",
    Role.ENGINEER: "user with this role",
    Role.ADMINISTRATOR: "user with this role",
}


def page() -> str:
    """The page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from (
        "# Who may do what over OPC UA",
        "",
        "Made by `python -m controller.opcua.reference` of the tables that the server goes by; a test asks for every cell.",
        "Nothing is allowed that is not listed here. [Security](../explanations/security.md) says how roles come about.",
        "",
        "## Roles",
        "",
        "| Role | In the standard's words | Who has it |",
        "|---|---|---|",
    )
    for role in Role:
        names = ", ".join(f"`{ObjectIdNames[number].removeprefix(PREFIX)}`" for number in WELL_KNOWN[role])
        yield f"| {role.name.capitalize()} | {names} | {WHO[role]} |"
    yield from ("", "Each role may do what the ones above it may. They are given by `lockstep user role NAME ROLE` alone.")
    yield from ("", "## Sorts of nodes", "", "| Sort | Which nodes | Channel |", "|---|---|---|")
    for rule in Rule:
        channel = "SignAndEncrypt" if RESTRICTIONS[rule] & ENCRYPTION_REQUIRED else "Sign or SignAndEncrypt"
        yield f"| {MEANS[rule][0]} | {MEANS[rule][1]} | {channel} |"
    yield from ("", "## What each role may do", "", "A node that a role may not browse does not exist for it: `BadNodeIdUnknown`.")
    for rule in Rule:
        yield from ("", f"### {MEANS[rule][0].capitalize()}", "")
        yield from (_row("", [role.name.capitalize() for role in Role]), "|---|---|---|---|---|")
        for operation, needs in OPERATIONS.items():
            yield _row(operation, ["yes" if GRANTS[rule][role - 1] & needs else "–" for role in Role])
    others = ", ".join(sorted((bit.name or "").lower().replace("_", " ") for bit in May if not _granted_at_all(bit)))
    yield from ("", "## What nobody may", "", f"Granted to no role on any node: {others}.")


def _row(first: str, rest: list[str]) -> str:
    return f"| {' | '.join((first, *rest))} |"


def _granted_at_all(bit: May) -> bool:
    return any(grant & bit for grants in GRANTS.values() for grant in grants)


if __name__ == "__main__":
    print(page(), end="")
