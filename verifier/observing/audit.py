"""The audit log of the cloud from the beginning of the check on: which entries were added, and the one before them."""

from typing import Any

from verifier.judging.case import dicts, mapping
from verifier.observing.cloud import Cloud

PAGE, PAGES = 200, 30
FURTHEST = 1 << 40


class AuditTail:
    """`begin` finds the end of the log, `end` reads what was added since."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.record: dict[str, Any] = {"start": None, "pages": [], "truncated": False}

    async def begin(self) -> None:
        """Find the number of the last entry, in as many questions as it has binary digits."""
        answer = await self._cloud.get("/audit", after=0, limit=1)
        self.record["first"] = answer
        if answer["status"] != 200:
            return
        if _last(answer) is None:
            self.record["start"] = 0
            return
        low, step = 1, 1  # there are entries after `low` - 1
        while step < FURTHEST and _last(await self._cloud.get("/audit", after=low + step, limit=1)) is not None:
            low, step = low + step, 2 * step
        high = low + step  # none after `high`
        while high - low > 1:
            middle = (low + high) // 2
            if _last(await self._cloud.get("/audit", after=middle, limit=1)) is None:
                high = middle
            else:
                low = middle
        some = await self._cloud.get("/audit", after=max(0, low - 1), limit=PAGE)
        self.record["start"] = _last(some)

    async def end(self) -> None:
        """The last entry there was, and all since."""
        start = self.record["start"]
        if start is None:
            return
        after = max(0, start - 1)
        for _ in range(PAGES):
            page = await self._cloud.get("/audit", after=after, limit=PAGE)
            self.record["pages"].append(page)
            last = _last(page)
            if page["status"] != 200 or last is None or last <= after:
                return
            after = last
            if len(list(dicts(mapping(page["body"]).get("entries")))) < PAGE and not mapping(page["body"]).get("more"):
                return
        self.record["truncated"] = True


def _last(answer: dict[str, Any]) -> int | None:
    """The highest number of a page, None where it has no entries."""
    numbers = [e["n"] for e in dicts(mapping(answer["body"]).get("entries")) if type(e.get("n")) is int]
    return max(numbers, default=None)
