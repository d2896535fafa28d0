"""How links, nodes and the controller fail: the kinds, what a safe factory does about each, and where that shows.

A link is a network's, a line is a serial one; both are targeted by the node at their end.
"""

from twin.fault import Kind, Parameter, Subject

SAFE = "By lease + one tick every output is at its default, and the node latches; nothing moves again without an operator."
RESTART = "Outputs fall to low at once; the node comes back latched, for it was in use, and the order is held."
UNUSED = "No value of such a reply is used; the machine goes on as it was told, or the lease ends and it is safe."
OUTPUTS = "the machines' pins; leased, latched and fault of the node"
BELIEF = "quality of the core's Samples; the machines' pins"
UNMOVED = "The node obeys its owner as before: no foreign write takes effect, the lease does not end."

_LATE = Parameter(default=0.2, low=0.0, high=10.0, text="s")
_SHARE = Parameter(default=1.0, low=0.0, high=1.0, text="of the frames")
_EVERY = Parameter(default=1.0, low=0.01, high=600.0, text="s from one to the next")
_LINES = Parameter(default=4, low=1, high=8, text="connections")


def _link(name: str, text: str, expected: str, reference: str, observable: str = OUTPUTS, **parameters: Parameter) -> Kind:
    return _kind(f"link-{name}", Subject.LINK, text, expected, reference, observable, parameters)


def _line(name: str, text: str, expected: str, reference: str, observable: str = OUTPUTS, **parameters: Parameter) -> Kind:
    return _kind(f"line-{name}", Subject.LINK, text, expected, reference, observable, parameters)


def _node(name: str, text: str, expected: str, reference: str, observable: str = OUTPUTS, **parameters: Parameter) -> Kind:
    return _kind(f"node-{name}", Subject.NODE, text, expected, reference, observable, parameters)


def _core(name: str, text: str, expected: str, reference: str, observable: str = OUTPUTS, **parameters: Parameter) -> Kind:
    return _kind(f"controller-{name}", Subject.CONTROLLER, text, expected, reference, observable, parameters)


def _kind(
    name: str, subject: Subject, text: str, expected: str, reference: str, observable: str, parameters: dict[str, Parameter]
) -> Kind:
    return Kind(
        name=name, subject=subject, text=text, expected=expected, observable=observable, parameters=parameters, reference=reference
    )


LINK = (
    _link("cut", "The cable is pulled: bytes vanish both ways, connections stay half open.", SAFE, "N1"),
    _link("cut-to-node", "Nothing reaches the node; what it says arrives.", SAFE, "N9"),
    _link("cut-from-node", "What the node says is lost; it hears everything.",
          "The core takes the node for lost and writes nothing more; then the lease ends and the node is safe.", "N8"),
    _link("half-open", "The connections that there are lead nowhere, and neither end is told; new ones work.",
          "The core gives its connection up within 1.5 s and makes a new one; the node is safe until then.", "N6"),
    _link("reset", "The connection is reset when half of a reply has come.",
          "The half reply is not used; the core connects again, and nothing runs twice.", "N7", share=_SHARE),
    _link("refused", "Connections end, and no new one is made.", SAFE, "N6"),
    _link("flapping", "The link is cut and joined by turns.",
          "The core waits longer from try to try; nothing moves again without an operator.", "N11", period=_EVERY),
    _link("delay", "Everything comes later by a constant.", "What is too late for the lease is not obeyed, else all goes on.", "N3",
          delay=_LATE),
    _link("jitter", "Everything comes later by chance.", "As with a delay; nothing is done twice or out of order.", "N4",
          least=Parameter(default=0.0, low=0.0, high=10.0, text="s at least"),
          spread=Parameter(default=0.1, low=0.0, high=10.0, text="s more at most")),
    _link("held", "Everything is held back and comes at once when the fault ends, in one piece.",
          "The lease has ended meanwhile: what comes too late does not start anything.", "N3"),
    _link("loss", "Frames vanish.", "No wrong action, only slower; safe where the lease ends.", "N2",
          share=Parameter(default=0.1, low=0.0, high=1.0, text="of the frames")),
    _link("duplicate", "Frames come twice.", "A command is carried out once; a second reply is dropped.", "N5", share=_SHARE),
    _link("reorder", "Of replies that come together, neighbours change places.",
          "Replies are told apart by their transactions: all goes on.", "N4"),
    _link("bytewise", "A byte a segment.", "Both ends put the frames together again: all goes on.", "N15",
          gap=Parameter(default=2e-5, low=1e-6, high=0.1, text="s between two bytes")),
    _link("truncate", "The end of frames from the node is missing.",
          "What follows is not taken for the rest: the core ends the connection.", "P4", BELIEF, share=_SHARE,
          bytes=Parameter(default=3, low=1, high=200, text="missing")),
    _link("spoilt-block", "A bit of a Job's blocks flips on the way.",
          "The block is refused by its CRC-32 and sent again; no spoilt Job is ever stored.", "P4",
          "transfer_state and transfer_reason of the node; the file it stores",
          share=Parameter(default=0.3, low=0.0, high=1.0, text="of the blocks")),
    _link("wrong-transaction", "Replies bear another transaction number.", UNUSED, "P1", BELIEF, share=_SHARE),
    _link("wrong-unit", "Replies come from another unit.", UNUSED, "P2", BELIEF, share=_SHARE),
    _link("wrong-function", "Replies bear another function code.", UNUSED, "P3", BELIEF, share=_SHARE),
    _link("byte-count", "The byte count of replies lies.", UNUSED, "P4", BELIEF, share=_SHARE,
          by=Parameter(default=-2, low=-100, high=100, text="bytes too many")),
    _link("fewer-registers", "Replies hold a register less than was asked for, and are whole in themselves.", UNUSED, "P4", BELIEF,
          share=_SHARE),
    _link("wrong-protocol", "The header of replies names another protocol.", UNUSED, "P9", BELIEF, share=_SHARE,
          protocol=Parameter(default=1, low=1, high=65_535, text="its number")),
    _link("wrong-length", "The length in the header of replies lies.", UNUSED, "P9", BELIEF, share=_SHARE,
          length=Parameter(default=65_535, low=0, high=65_535, text="bytes")),
    _link("wrong-request", "The length in the header of requests lies.",
          "The node ends the connection, for nobody can tell where the next request starts; its memory stays.", "P9", OUTPUTS,
          share=_SHARE, length=Parameter(default=0, low=0, high=65_535, text="bytes")),
    _link("exception", "Replies are exceptions.", UNUSED, "P8", BELIEF, share=_SHARE,
          code=Parameter(default=2, low=1, high=11, text="1 function, 2 address, 3 value, 4 failure, 6 busy")),
    _link("junk", "Another client floods the node with bytes by chance.", UNMOVED, "N13",
          rate=Parameter(default=20_000, low=1, high=1_000_000, text="bytes per second")),
    _link("foreign-master", "Another master claims the node and writes Commands.", UNMOVED, "P10",
          "refused of the node; the machines' pins", epoch=Parameter(default=1000, low=1, high=4e9, text="that it claims under")),
    _link("replay", "Grants with a command are recorded, and sent again later over another connection.",
          "A command runs once.", "K10", "executions, reason and latched of the node", after=_EVERY),
    _link("hoarding", "Another client opens connections and holds them.",
          "The node keeps its owner; a client that is silent for 5 s gives way to a new one.", "P13", connections=_LINES),
    _link("knocking", "Another client connects and goes, again and again.", UNMOVED, "P13",
          rate=Parameter(default=100, low=1, high=1000, text="connections per second")),
    _link("dawdling", "Other clients send requests byte by byte and never come to an end.",
          "They take their places, and no more: the node keeps its owner and its memory.", "P17", connections=_LINES,
          period=Parameter(default=0.1, low=0.001, high=10.0, text="s between two bytes")),
    _link("swapped", "Another node answers at the address: the cables of two are in each other's place.",
          "The node is neither believed nor commanded: its uid is not the factory's. An alarm says so.", "N12",
          "standing of the nodes as the core sees it; the machines' pins"),
)  # fmt: skip

_OFTEN = Parameter(default=0.05, low=0.0, high=1.0, text="of the frames")

LINE = (
    _line("wrong-crc", "A bit of replies flips on the line: their CRC-16 is wrong.", UNUSED, "P5", BELIEF, share=_SHARE),
    _line("gap", "Frames come with a pause in their middle.",
          "Both ends put them together again; where the pause is too long, the frame is dropped and the next one is heard.", "P6",
          share=_SHARE, gap=Parameter(default=0.002, low=1e-5, high=0.1, text="s that it lasts")),
    _line("echo", "The controller's adapter hears what it says, and hands over what it hears in lumps.",
          "The echo is not taken for a reply: all goes on.", "P7",
          lump=Parameter(default=0.016, low=1e-4, high=0.1, text="s from one to the next")),
    _line("lost-byte", "Frames come with a byte less.", "The frame is dropped; the next one is heard: all goes on.", "P4",
          share=_OFTEN),
    _line("noise", "Frames come with a byte more.", "The frame is dropped; the next one is heard: all goes on.", "P5",
          share=_OFTEN),
    _line("collision", "Somebody else speaks: the last quarter of frames is not what was sent.", SAFE, "P5", share=_SHARE),
    _line("stuck", "The node's transceiver drives the line and does not let go.", SAFE, "P7"),
)  # fmt: skip

_BIT = Parameter(default=-1, low=-1, high=1e6, text="which bit of the file; -1 by chance")

NODE = (
    _node("reset", "The node starts anew.", RESTART, "D1"),
    _node("power-cut", "The node has no power, until the fault ends.", RESTART, "D1"),
    _node("brown-out", "The power dips several times in a row.", RESTART, "D1",
          dips=Parameter(default=3, low=1, high=100, text="how many"), period=_EVERY),
    _node("reset-loop", "The node starts anew again and again.", RESTART, "D10", period=_EVERY),
    _node("hang", "The processor hangs.", "The watchdog resets the node within 2 s; the outputs are low from then on.", "D5"),
    _node("pause", "The processor is away for a while, as in a garbage collection.",
          "The tick comes late and catches no ticks up; where the pause outlasts the lease, the node is safe after it.", "D7",
          pause=Parameter(default=0.15, low=0.001, high=1.9, text="s")),
    _node("overload", "Every switch of a task takes longer.",
          "Ticks that are missed are not made up for; the lease ends by the clock, not by the number of ticks.", "D7",
          load=Parameter(default=0.002, low=0.0, high=0.05, text="s more for each switch")),
    _node("no-heap", "The heap is taken but for a little.", "The tick needs no memory: it goes on, or the watchdog resets.", "D6",
          left=Parameter(default=2000, low=0, high=100_000, text="bytes left")),
    _node("flash-read-only", "The flash takes no writes.", "It serves and is safe as before; only Jobs cannot be stored.", "D4",
          "epoch and leased of the node"),
    _node("config-flip", "A bit of node.json has flipped while the power was off.",
          "The node does nothing: it says why on its console, and where the file still tells where, it listens with the uid 0, "
          "which no core believes; else it does not start.", "D3",
          "standing of the node as the core sees it; the console; the machines' pins", bit=_BIT),
    _node("config-foreign", "The node has the configuration of another factory.",
          "The core neither believes nor commands it: its map hash is not the factory's. An alarm says so.", "V1",
          "standing of the node as the core sees it; the machines' pins"),
    _node("config-short", "node.json ends early.", "The node does not start, and says why on its console.", "D3",
          "NodeEnded and the console; the machines' pins",
          share=Parameter(default=0.5, low=0.0, high=0.9999, text="of it that is left")),
    _node("counter-lost", "The file of the highest epoch is empty.", "The core's next epoch is above any that it granted.", "D2",
          "epoch and leased of the node"),
    _node("counter-spoilt", "The file of the highest epoch holds no number.", "As where it is empty.", "D2",
          "epoch and leased of the node"),
    _node("clock-wraps", "The node's ticks wrap while it runs.", "Nothing happens: times are compared by ticks_diff.", "T5",
          before=Parameter(default=1.0, low=0.01, high=600.0, text="s until the microseconds wrap")),
    _node("clock-drifts", "The node's clock goes wrong.", "The lease ends a little earlier or later, all else as before.", "T4",
          ppm=Parameter(default=200, low=-100_000, high=100_000, text="too fast")),
    _node("pin-error", "Reading an input raises an error.",
          "The outputs are off at once, and the watchdog resets the node.", "D8",
          reads=Parameter(default=1, low=1, high=1000, text="that fail")),
)  # fmt: skip

CONTROLLER = (
    _core("killed", "The core is killed; where the fault ends, it is started again on the same state folder.",
          "Nodes are safe by lease + one tick; the new core claims them under a higher epoch, and starts nothing by itself.", "C1"),
    _core("crash-loop", "The core is killed again and again, and started at once.", "As where it is killed once.", "C3",
          period=_EVERY),
    _core("stalled", "The core's process stands still for a while.",
          "Where that outlasts the lease, nodes are safe, and what the core finds afterwards is not that they are its own.", "C4",
          stall=Parameter(default=1.0, low=0.01, high=60.0, text="s")),
    _core("slow", "Again and again the core stands still for a moment.",
          "Scans are skipped, not made up for; leases live while they are fed.", "C4",
          load=Parameter(default=0.15, low=0.001, high=5.0, text="s that it stands"),
          period=Parameter(default=0.2, low=0.01, high=60.0, text="s from one to the next")),
    _core("second", "Another core for the same factory runs on a state folder of its own.",
          "While a lease is live the other core's claims are refused: it reads only.", "C10",
          "owner, epoch and refused of the node"),
    _core("twice", "Another core is started on the same state folder.", "It refuses to run: the folder is held.", "C10",
          "CoreRefused in the Trace"),
    _core("wall-clock", "The wall clock jumps.", "No command and no lease changes: control knows no wall clock.", "T1",
          "the machines' pins, as without the fault", step=Parameter(default=3600, low=-1e8, high=1e8, text="s forward")),
    _core("epoch-lost", "The core is killed and started again on a state folder whose epoch is an old one.",
          "The next epoch is above what nodes say they have granted.", "C13", "epoch and leased of the node"),
)  # fmt: skip
