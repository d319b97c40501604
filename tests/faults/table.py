"""The fault table: faults × findings, as measured by the last run of the fault tests.

python -m tests.faults.table
"""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.faults import FAULTS
from tests.faults.kinds import UIDS, Fault

RESULTS = Path(__file__).parent / "results.json"
STATEMENTS = {"device.mon.realtime": "rt", "device.mon.trace": "tr", "device.mon.alarm": "al"}  # each with five
_SIGNS = {"fail": "✗", "blocked": "·", "review": "?", "open": "–", "error": "!"}


def keep(fault: Fault, found: dict[str, set[str]]) -> None:
    """Remember what a fault came to."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    known[fault.id] = {state: sorted(names) for state, names in found.items()}
    RESULTS.write_text(json.dumps(known, ensure_ascii=False, indent=1), encoding="utf-8")


def _cell(found: dict[str, list[str]], statement: str) -> str:
    """What became of a statement: a sign for each machine, one sign if all are alike."""
    signs = [
        next((_SIGNS[state] for state, names in found.items() if f"{statement} {uid}" in names), "✓") for uid in UIDS
    ]
    return signs[0] if len(set(signs)) == 1 else "".join(signs)


def main() -> int:
    """Print the table; 1 if a fault was not measured."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    console = Console(width=110)
    for criterion, name in STATEMENTS.items():
        statements = [f"{name}.{n}" for n in range(1, 6)]
        table = Table(title=f"{criterion} · 仿真数据 / SIMULATED · {', '.join(UIDS)}", title_justify="left")
        for heading in ("fault", "", *statements):
            table.add_column(heading)
        for fault in FAULTS:
            if fault.criterion == criterion:
                found = known.get(fault.id)
                cells = [_cell(found, s) for s in statements] if found else ["not measured"]
                table.add_row(fault.id, fault.zh, *cells)
        console.print(table)
    console.print("✓ pass  ✗ fail  · blocked  ? review  – not checked  ! error")
    return 0 if all(fault.id in known for fault in FAULTS) else 1


if __name__ == "__main__":
    sys.exit(main())
