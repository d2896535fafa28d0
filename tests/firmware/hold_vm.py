# Plays records again and again, held and resumed, with the node's own Player, and writes the words: run by the MicroPython VM.
#   hold_vm.py IN OUT AXES ACCELERATION TRIALS
# IN: records of "<H{axes}hH" (chunks, steps, alpha). TRIALS: a line a trial, the frames until each change between go and hold.
# Every trial's words begin after a word of ones; prints what the axes have made and the late steps of each trial.
import struct
import sys

from node.player import Player

axes = int(sys.argv[3])
form = f"<H{axes}hH"
size = struct.calcsize(form)
with open(sys.argv[1], "rb") as source:
    records = source.read()
with open(sys.argv[5]) as trials, open(sys.argv[2], "wb") as out:
    for line in trials:
        changes = [int(n) for n in line.split()]
        player = Player(axes)
        out.write(b"\xff\xff\xff\xff")
        held = False
        left = changes.pop(0) if changes else 1 << 29
        at = 0
        while at < len(records) or not player.idle:
            if left <= 0:
                held = not held
                if held:
                    player.slow([int(sys.argv[4])] * axes)
                else:
                    player.resume()
                left = changes.pop(0) if changes else 1 << 29
            if held and left > 1 << 28:
                held = False  # the last hold ends too
                player.resume()
            if held and player.rate == 0:
                rest = min(left, 512)
                out.write(bytes(4 * rest))
                left -= rest
                continue
            if player.idle:
                chunks, *steps, alpha = struct.unpack(form, records[at : at + size])
                at += size
                player.load(chunks, steps, alpha)
            made = player.fill(min(left, 512) // 4 * 4 or 4)
            out.write(player.words(0, made))
            left -= made
        print(*[player.where(k) for k in range(axes)], player.short)
