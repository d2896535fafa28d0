"""Feeds the one watchdog, and only while every task of the node shows that it lives."""

import asyncio

FEED_MS = 500


class Supervisor:
    """Parts have an attribute `beat`, which they set as often as they come round and which is taken back here."""

    def __init__(self):
        self._parts = []

    def expect(self, part, looks=1):
        """From now on this part must beat at least once in so many looks, one each FEED_MS."""
        self._parts.append([part, looks, 0])

    def alive(self):
        """Whether every part has beaten in its time; to be asked once each FEED_MS."""
        alive = True
        for entry in self._parts:
            part, looks, missed = entry
            entry[2] = missed = 0 if part.beat else missed + 1
            if missed >= looks:
                alive = False
        if alive:
            for entry in self._parts:
                entry[0].beat = False
        return alive

    async def watch(self, dog):
        """Feed it for ever, or until something is silent for too long."""
        while True:
            await asyncio.sleep_ms(FEED_MS)
            if self.alive():
                dog.feed()
