"""A Motion that eats Jobs instead of moving axes, so that all around it can be tested.

Job 13 is a bug. The number of starts is shown in S_UNDERRUNS, the bytes eaten in S_JOB_CHUNKS, their CRC-32 in
S_JOB_LINE.
"""

from binascii import crc32

from node import registers as reg


class Motion:
    def __init__(self, config, bank, store, heaters, fans):
        self._bank = bank
        self._store = store
        self._finish = config["on_link_loss"] == "finish"
        self._reader = None
        self._eaten = self._crc = self._starts = 0
        self._bug = False
        self._buffer = memoryview(bytearray(64))
        self.running = False
        self.fault = self.cause = 0

    @property
    def finishes(self):
        return self._finish and self.running

    def start(self, job_id):
        self._bug = job_id == 13
        if self.running:
            return reg.REASON_BUSY
        self._reader = self._store.open(job_id)
        if self._reader is None:
            return reg.REASON_NO_SUCH_JOB
        self.running = True
        self._eaten = self._crc = 0
        self._starts += 1
        self._bank.put16(reg.S_UNDERRUNS, self._starts)
        self._bank.put32(reg.S_JOB_ID, job_id)
        self._bank.put16(reg.S_JOB_STATE, reg.JOB_STATE_RUNNING)
        return 0

    def stop(self):
        if self.running:
            self._close(reg.JOB_STATE_ABORTED)

    def _close(self, state):
        self._reader.close()
        self.running = False
        self._bank.put16(reg.S_JOB_STATE, state)

    def tick(self, now_us, run, deadline_us):
        if self._bug:
            raise RuntimeError("a bug")
        self._bank.put_bit(reg.S_MOVING, reg.S_MOVING_BIT, self.running and run)
        if not self.running or not run:
            return
        count = self._reader.readinto(self._buffer)
        self._crc = crc32(self._buffer[:count], self._crc)
        self._eaten += count
        self._bank.put32(reg.S_JOB_CHUNKS, self._eaten)
        self._bank.put32(reg.S_JOB_LINE, self._crc)
        if self._reader.ended:
            self._close(reg.JOB_STATE_DONE)
