"""Feeds the one watchdog, and only while every task of the node shows that it lives."""

import asyncio

FEED_MS = 500


class Supervisor:
    """Parts have an attribute `beat`, which they set as often as they come round and which is taken back here."""

    def __init__(self):
        self._parts = []

    def expect(self, part):
        """From now on this part must beat between any two looks, one each FEED_MS."""
        self._parts.append(part)

    def alive(self):
        """Whether every part has beaten since the last look; to be asked once each FEED_MS."""
        alive = all(part.beat for part in self._parts)
        if alive:
            for part in self._parts:
                part.beat = False
        return alive

    async def watch(self, dog):
        """Feed it for ever, or until something is silent for too long."""
        while True:
            await asyncio.sleep_ms(FEED_MS)
            if self.alive():
                dog.feed()
