# Plays records with the node's own Player and writes the words: run by the MicroPython VM, no board needed.
#   player_vm.py IN OUT [HOLD_AT HOLD_EVERY]   IN: records of "<Hhhhh H" (chunks, four steps, alpha)
import struct
import sys

from node.player import Player

player = Player()
hold_at = int(sys.argv[3]) if len(sys.argv) > 3 else 0
hold_every = int(sys.argv[4]) if len(sys.argv) > 4 else 0
accelerations = [240000, 240000, 80000, 480000]
played = 0
next_hold = hold_at or 1 << 29
holding = False
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as out:
    while True:
        raw = source.read(12)
        if not raw:
            break
        chunks, x, y, z, e, alpha = struct.unpack("<HhhhhH", raw)
        player.load(chunks, (x, y, z, e), alpha)
        while not player.idle:
            frames = min(1024, max(4, next_hold - played)) if not holding else 64
            if played >= next_hold and not holding and not player.held:
                player.slow(accelerations)
                holding = True
            made = player.fill(frames)
            out.write(player.words(0, made))
            played += made
            if holding and player.rate == 0:
                out.write(bytes(400))  # rests for a millisecond
                player.resume()
                holding = False
                next_hold = played + hold_every
print(*[player.where(k) for k in range(4)], player.short, player.peak)
