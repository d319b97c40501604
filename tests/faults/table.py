"""The fault table: faults × findings, as measured by the last run of the fault tests.

python -m tests.faults.table
"""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.faults import FAULTS, UIDS, Fault

RESULTS = Path(__file__).parent / "results.json"
STATEMENTS = ("rt.1", "rt.2", "rt.3", "rt.4", "rt.5")
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
    table = Table(title=f"仿真数据 / SIMULATED · machines in order: {', '.join(UIDS)}", title_justify="left")
    for heading in ("fault", "", *STATEMENTS):
        table.add_column(heading)
    for fault in FAULTS:
        found = known.get(fault.id)
        table.add_row(fault.id, fault.zh, *([_cell(found, s) for s in STATEMENTS] if found else ["not measured"]))
    console = Console(width=110)
    console.print(table)
    console.print("✓ pass  ✗ fail  · blocked  ? review  – not checked  ! error")
    return 0 if all(fault.id in known for fault in FAULTS) else 1


if __name__ == "__main__":
    sys.exit(main())
