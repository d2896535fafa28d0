# Plays records of six axes with the node's own Player and writes the words: run by the MicroPython VM, no board needed.
#   six_vm.py IN OUT HOLD_AT   IN: records of "<H6hH" (chunks, six steps, alpha); HOLD_AT: frames until a hold, 0 for none
import struct
import sys

from node.player import Player

player = Player(6)
hold_at = int(sys.argv[3])
played = 0
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as out:
    while True:
        raw = source.read(16)
        if not raw:
            break
        chunks, *steps, alpha = struct.unpack("<H6hH", raw)
        player.load(chunks, steps, alpha)
        while not player.idle:
            if hold_at and played >= hold_at:
                hold_at = 0
                player.slow([120000] * 6)
            made = player.fill(64)
            out.write(player.words(0, made))
            played += made
            if player.rate == 0:
                out.write(bytes(400))  # rests for a millisecond
                player.resume()
print(*[player.where(k) for k in range(6)], player.short)
