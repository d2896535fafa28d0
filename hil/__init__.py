"""How we know: the rig, its targets, faults and verdicts. It also runs the demo's virtual nodes."""
