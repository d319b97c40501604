"""What is under way: the window, what is sent again and when, what is passed over."""

from edge_agent.flights import PATIENCE, WINDOW, Flights


def run(
    flights: Flights, *, until_ms: int, held: list[int], refused: set[int], silent: bool = False
) -> list[tuple[int, int]]:
    """An uplink and an ingest in made-up time: (ms, n) of everything sent. Receipts take 50 ms."""
    sent: list[tuple[int, int]] = []
    receipts: list[tuple[int, int]] = []
    fresh = list(held)
    for now in range(0, until_ms, 10):
        landed = [n for at, n in receipts if at <= now]
        receipts = [(at, n) for at, n in receipts if at > now]
        flights.landed(landed, now)
        due = flights.due(now)
        for n in due + [fresh.pop(0) for _ in range(min(len(fresh), flights.room(now) - len(due)))]:
            flights.sent(n, now)
            sent.append((now, n))
            if not silent and n not in refused:
                receipts.append((now + 50, n))
    return sent


def test_a_window_waits_at_a_time() -> None:
    flights = Flights(_heard_ms=0)
    for n in range(WINDOW):
        flights.sent(n, 0)
    assert flights.room(1) == 0 and flights.due(1) == []
    flights.landed([3, 4], 2)
    assert flights.room(3) == 2
    flights.gone([5])
    assert flights.room(3) == 3
    assert flights.due(2000) == [n for n in range(WINDOW) if n not in (3, 4, 5)]


def test_refused_items_hold_up_nothing_and_are_never_given_up() -> None:
    refused = set(range(WINDOW + 10))
    sent = run(Flights(_heard_ms=0), until_ms=600_000, held=list(range(500)), refused=refused)
    first = {}
    for at, n in sent:
        first.setdefault(n, at)
    assert set(first) == set(range(500)) and max(first.values()) < 30_000
    tries = [sum(1 for _, m in sent if m == n) for n in sorted(refused)]
    assert min(tries) > PATIENCE and max(tries) < 15
    assert sum(1 for at, n in sent if at > 300_000) < 2 * len(refused)  # ever more rarely


def test_an_ingest_that_is_away_is_not_flooded() -> None:
    minutes = 60
    flights = Flights(_heard_ms=0)
    count = 0
    fresh = iter(range(1_000_000))
    for at in range(0, minutes * 60_000, 1000):
        due = flights.due(at)
        for n in [*due, *(next(fresh) for _ in range(max(0, flights.room(at) - len(due))))]:
            flights.sent(n, at)
            count += 1
    assert count < minutes * 60 * 4  # four a second
    assert next(fresh) > minutes * 20  # and yet what is behind is tried


def test_after_a_silence_everything_is_tried_at_once() -> None:
    flights = Flights(_heard_ms=0)
    flights.sent(0, 100)
    for n in range(10):
        for tried in range(PATIENCE + 2):
            flights.sent(n, 100 + tried)
    assert flights.due(40_000) == []
    flights.landed([0], 40_000)
    assert flights.due(40_000) == list(range(1, 10))


def test_a_slow_cloud_does_not_get_everything_twice() -> None:
    flights = Flights(_heard_ms=0)
    for n in range(200):
        flights.sent(n, n * 3000)
        flights.landed([n], n * 3000 + 1800)
    flights.sent(1000, 0)
    assert flights.due(3000) == [] and flights.due(8000) == [1000]


def test_an_edge_that_seldom_has_something_to_say_is_not_silent() -> None:
    flights = Flights(_heard_ms=0)
    for at in range(600_000, 6_000_000, 600_000):  # a frame each ten minutes
        assert flights.room(at) > 0
        flights.sent(at, at)
        assert flights.due(at + 2000) == [at]
        flights.sent(at, at + 2000)
        flights.landed([at], at + 2100)


def test_a_new_connection_sends_what_was_under_way_again() -> None:
    flights = Flights(_heard_ms=0)
    for n in range(WINDOW):
        flights.sent(n, 100)
    flights.again(200)
    assert flights.due(200) == list(range(WINDOW))
