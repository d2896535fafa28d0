"""The rig as a pytest plugin: fixtures `factory`, `rig` and `stage`, targets, requirements, reports.

    async def test_a_cut_link_stops_the_belt(stage):
        await stage.until(("belt/pin/run", bool), within=10 * S)
        stage.cut("node")
        ...
        return [responds("the belt is off", LinkCut("node"), "belt/pin/run", lambda run: not run, 510 * MS)]

An `async def` test with a `stage` is played in factory time, and the requirements that it returns are judged. It is loaded into
every run of pytest, so what it needs is imported only when a test asks for it.
"""

import inspect
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hil.reports.report import Result
    from hil.rig import Rig
    from hil.scenario import Stage
    from twin.factory import Factory

FACTORY = "factory.toml"
DEFAULT_TARGET = "vm"
_OURS = pytest.StashKey["_Session"]()
_STAGE = pytest.StashKey["Stage"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The command line."""
    group = parser.getgroup("lockstep", "hardware in the loop, in factory time")
    group.addoption(
        "--lockstep-target",
        default=DEFAULT_TARGET,
        metavar="NAMES",
        help="what nodes run on: vm, model, qemu or board, several with commas between them (vm); absent ones are skipped",
    )
    group.addoption("--lockstep-factory", type=Path, metavar="FILE", help=f"of all tests ({FACTORY} beside each test)")
    group.addoption("--lockstep-html", type=Path, metavar="FILE", help="write verdicts, requirements and plots as one page")
    group.addoption("--lockstep-json", type=Path, metavar="FILE", help="write the same as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """The marker, and what is remembered for the reports."""
    config.addinivalue_line("markers", "requirement(*ids): the requirements that a test shows, as 'CELL-012'")
    config.stash[_OURS] = _Session()


class _Session:
    """What came of the tests so far; traces and rules are there only for tests of this process."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.here: dict[str, tuple[Any, Any]] = {}


# ---- targets


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that needs a node runs on every target that is asked for."""
    if "lockstep_target" in metafunc.fixturenames:
        names = [name.strip() for name in metafunc.config.getoption("--lockstep-target").split(",") if name.strip()]
        metafunc.parametrize("lockstep_target", names, indirect=True)


@pytest.fixture
def target(lockstep_target: str) -> str:
    """The target's name; the test is skipped where it is absent. A suite's own `target` is left alone."""
    return lockstep_target


@pytest.fixture
def lockstep_target(request: pytest.FixtureRequest) -> str:
    """What `target` gives, under a name that nobody else uses: this one is parametrised."""
    from hil.targets.choice import TARGETS, why_absent

    name: str = request.param
    if name not in TARGETS:
        raise pytest.UsageError(f"--lockstep-target {name}: there are {', '.join(TARGETS)}")
    if why := why_absent(name):
        pytest.skip(f"{name} is absent: {why}")
    return name


# ---- fixtures


@pytest.fixture
def factory(request: pytest.FixtureRequest) -> "Factory":
    """The factory of the file beside the test, or of --lockstep-factory; its virtual nodes are at ports that are free."""
    from hil.campaigns.perform import at_free_ports
    from twin.factory import FactoryError, read

    given: Path | None = request.config.getoption("--lockstep-factory")
    path = given or request.path.parent / FACTORY
    try:
        return at_free_ports(read(path))
    except FactoryError as wrong:
        pytest.fail("\n".join(f"{path}: {mistake}" for mistake in wrong.mistakes), pytrace=False)


@pytest.fixture
def rig(factory: "Factory", target: str, tmp_path: Path) -> Iterator["Rig"]:
    """The factory's nodes with power on, each behind a link that can be cut, and the world around them."""
    from hil.micropython import MicroPythonError
    from hil.rig import Rig
    from hil.targets import Absent

    try:
        made = Rig(factory, tmp_path / "nodes", links=True, target=target)
        with made:
            yield made
    except Absent as absent:
        pytest.skip(f"{target} is absent: {absent}")
    except MicroPythonError as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture
def stage(request: pytest.FixtureRequest, rig: "Rig") -> "Stage":
    """What a scenario acts on. An `async def` test with a stage is played in factory time."""
    from hil.scenario import Stage

    made = request.node.stash[_STAGE] = Stage(rig)
    return made


# ---- a test


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Play an `async def` test with a stage, and judge what it returns."""
    on = pyfuncitem.stash.get(_STAGE, None)
    if on is None or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    from hil.scenario import ScenarioError, play

    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    try:
        on.require(*(play(on, pyfuncitem.obj(**wanted)) or ()))
    except ScenarioError as late:
        pytest.fail(str(late), pytrace=False)
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Requirement ids go to JUnit."""
    for item in items:
        item.user_properties += [("requirement", one) for one in _ids(item)]


def _ids(item: pytest.Item) -> list[str]:
    return [one for marker in item.iter_markers("requirement") for one in marker.args]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what a test that used a stage, or names requirements, came to; in words that another process can read."""
    report = yield
    on, ids = item.stash.get(_STAGE, None), _ids(item)
    ended = report.when == "call" or (report.when == "setup" and not report.passed)
    if ended and (on is not None or ids or "lockstep_target" in getattr(item, "fixturenames", ())):
        told = [(v.requirement, v.passed, v.evidence, v.id) for v in on.verdicts] if on is not None else []
        known = {verdict[3] for verdict in told}
        if not report.skipped:
            told += [(_sentence(item), report.passed, _why(report), one) for one in ids if one not in known] or (
                [(_sentence(item), report.passed, _why(report), "")] if not told else []
            )
        callspec = getattr(item, "callspec", None)
        report.lockstep = {  # type: ignore[attr-defined]
            "target": str(callspec.params.get("lockstep_target", "")) if callspec is not None else "",
            "seed": on.seed if on is not None else None,
            "verdicts": told,
            "simulated_s": on.now / 1e9 if on is not None else 0.0,
            "error": _why(report) if report.failed and all(verdict[1] for verdict in told) else "",
            "skipped": _why(report) if report.skipped else "",
        }
        if on is not None:
            item.config.stash[_OURS].here[item.nodeid] = on.trace, list(on.verdicts)
    return report


def _sentence(item: pytest.Item) -> str:
    name = getattr(item, "originalname", None) or item.name
    return str(name).removeprefix("test_").replace("_", " ")


def _why(report: pytest.TestReport) -> str:
    """The last line of what ended a test, or the reason why it was skipped."""
    if report.passed:
        return "passed"
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr).strip().split("\n")[0]


# ---- reports


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a test came to; a test of another process comes without its trace."""
    if _running is not None and (told := getattr(report, "lockstep", None)) is not None:
        _running.stash[_OURS].results.append(_result(_running, report, told))


_running: pytest.Config | None = None


def pytest_sessionstart(session: pytest.Session) -> None:
    """Know the session that reports belong to."""
    global _running
    _running = session.config


def _result(config: pytest.Config, report: pytest.TestReport, told: dict[str, Any]) -> "Result":
    from hil.judging.verdict import Verdict
    from hil.reports.report import Result

    trace, judged = config.stash[_OURS].here.pop(report.nodeid, (None, []))
    verdicts = (*judged, *(Verdict(*one) for one in told["verdicts"][len(judged) :]))
    return Result(
        report.nodeid.partition("[")[0],
        told["target"],
        told["seed"],
        verdicts,
        duration_s=report.duration,
        trace=trace,
        again=f"pytest '{report.nodeid}'",
        error=told["error"],
        skipped=told["skipped"],
        simulated_s=told["simulated_s"],
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports that were asked for; of several processes the first does."""
    config = session.config
    html, json = config.getoption("--lockstep-html"), config.getoption("--lockstep-json")
    if hasattr(config, "workerinput") or not (html or json):
        return
    from hil.reports.report import write_html, write_json

    results = config.stash[_OURS].results
    if html:
        write_html(results, html)
    if json:
        write_json(results, json)
