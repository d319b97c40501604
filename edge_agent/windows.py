"""Requests for raw rows around an alarm: checked, kept until their time has passed, answered once by sealed items.

The answer goes through the outbox like any data, so once it is written it survives whatever data survive. A request that
was answered is not answered again by this process (the cloud repeats it until the answer has come); a process that was
started since takes it anew, and its answer says since when it holds anything.
"""

from collections.abc import Iterator

import numpy as np

from edge_agent import framing, machine_clock
from edge_agent.outbox import Draft
from edge_agent.ring import Ring
from telemetry import clock, frame, samples, windows
from telemetry.dictionary import Dictionary
from telemetry.frame import Frame, FrameError
from telemetry.keys import VerifyingKey
from telemetry.messages import MessageError
from telemetry.mqtt import Incoming
from telemetry.samples import Samples
from telemetry.seal import ItemKind
from telemetry.windows import Window, WindowRequest

LONGEST_MS = 20 * 60_000
AHEAD_MS = 5 * 60_000
OLDEST_MS = 15 * 60_000  # of a request, by this edge's clock
LATEST_MS = 10_000  # after the window's end the answer waits no longer for a machine of which nothing comes
PATIENCE_MS = 10 * 60_000  # nor for one whose clock is so far behind
SETTLE_MS = 500  # rows of one device reach the ring in the order of their scans, not of their times
SLOWEST_MS = 5_000  # what is acquired less often is not waited for
MAX_OPEN, MAX_REMEMBERED = 64, 10_000
AT_ONCE = 4  # requests answered with one frame, so that an alarm flood does not hold up data


class Windows:
    """Open requests of one edge."""

    def __init__(self, command_key: VerifyingKey, topic: str, words: Dictionary) -> None:
        self._key = command_key
        self._topic = topic
        # A tag that is acquired every so often reaches the ring that much after the time it bears.
        self._settle_ms = {
            device.uid: SETTLE_MS + min(SLOWEST_MS, max((tag.period_ms for tag in device.tags), default=0))
            for device in words.devices
        }
        self._open: dict[bytes, WindowRequest] = {}
        self._answered: dict[bytes, None] = {}
        self.refused = 0

    def take(self, message: Incoming) -> bool:
        """Check a request and keep it; False for a repeated one. Raises MessageError for one that is retained, not of the
        cloud's command key, too old, too long, for a device that is not here, or one too many."""
        try:
            request = self._checked(message)
        except MessageError:
            self.refused += 1
            raise
        if request.id in self._open or request.id in self._answered:
            return False
        self._open[request.id] = request
        return True

    def _checked(self, message: Incoming) -> WindowRequest:
        if message.retained:
            raise MessageError("a retained request is refused")
        request = WindowRequest.verify(message.payload, self._key, self._topic)
        now = clock.now_ms()
        if abs(now - request.sent_ms) > OLDEST_MS:
            raise MessageError(f"sent {(now - request.sent_ms) // 60_000} minutes ago by this edge's clock")
        if not 0 <= request.to_ms - request.from_ms <= LONGEST_MS or request.to_ms > now + AHEAD_MS:
            raise MessageError("a window of more than 20 minutes, or that ends more than 5 minutes ahead")
        if request.device not in self._settle_ms:
            raise MessageError(f"there is no device {request.device} here")
        if len(self._open) >= MAX_OPEN and request.id not in self._open:
            raise MessageError("too many windows are open")
        return request

    def due(self, ring: Ring) -> list[WindowRequest]:
        """Requests whose time has passed, AT_ONCE of them at most: by the machine's own clock, as its newest row shows it, and
        one period of its slowest tag; where nothing comes of it, or its clock is far behind, by ours."""
        now = clock.now_ms()
        return [one for one in self._open.values() if self._is_due(one, ring, now)][:AT_ONCE]

    def _is_due(self, one: WindowRequest, ring: Ring, now: int) -> bool:
        if ring.newest_ms(one.device) >= one.to_ms + self._settle_ms[one.device]:
            return True
        silent_ms = ring.silent_ms(one.device)
        silent = silent_ms is None or silent_ms >= LATEST_MS
        return now >= one.to_ms + (LATEST_MS if silent else PATIENCE_MS)

    def answered(self, requests: list[WindowRequest]) -> None:
        """The answers are on disk."""
        for one in requests:
            self._open.pop(one.id, None)
            self._answered[one.id] = None
        while len(self._answered) > MAX_REMEMBERED:
            del self._answered[next(iter(self._answered))]


def answer(request: WindowRequest, ring: Ring, words: Dictionary) -> list[Draft]:
    """The items that carry a window: one at least, even where there are no rows."""
    rows = ring.window(request.device, request.from_ms, request.to_ms, request.tags)
    parts = list(_parts(rows, words))
    span = (request.from_ms, request.to_ms)
    drafts: list[Draft] = []
    for number, (some, framed) in enumerate(parts):
        window = Window(
            id=request.id,
            device=request.device,
            from_ms=request.from_ms,
            to_ms=request.to_ms,
            ring_from_ms=ring.from_ms(request.device),
            part=number,
            parts=len(parts),
            truncated=request.from_ms < ring.room_ms(request.device),
            samples=some,
            dictionary=words,
        )
        drafts.append(Draft(ItemKind.WINDOW, windows.encode(window, framed), words.hash, span))
    return drafts


def _parts(rows: Samples, words: Dictionary) -> Iterator[tuple[Samples, bytes]]:
    """The rows in parts that fit into an item each."""
    head = Frame(clock.now_ms(), clock.mono_ms(), machine_clock.boot_id(), rows, machine_clock.synchronised())
    try:
        framed = frame.encode(head, words)
        if len(framed) > framing.MAX_PLAIN:
            raise FrameError("larger than an item")
    except FrameError:
        half = len(rows) // 2
        if half == 0:
            raise
        numbers = np.arange(len(rows))
        yield from _parts(rows.where(numbers[:half]), words)
        yield from _parts(rows.where(numbers[half:]), words)
        return
    yield rows if len(rows) else samples.empty(), framed
