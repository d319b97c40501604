"""The SunSpec tables against the published ones.

The driver, the verifier's reader and the simulator share telemetry/data/sunspec.yaml, so a wrong number there would pass on
all sides at once. The numbers here were taken from the published model files (pysunspec2 1.3.7, sunspec2/models/json/
model_*.json), not from ours.
"""

import pytest

from telemetry.sunspec import ModelPoint, definitions
from telemetry.sunspec_chain import scale_exponent

# 101 and 103: single-phase and three-phase inverter.
INVERTER = """
A        2 uint16 A_SF
A_SF     6 sunssf -
PPVphAB  7 uint16 V_SF
PhVphA  10 uint16 V_SF
V_SF    13 sunssf -
W       14 int16  W_SF
W_SF    15 sunssf -
Hz      16 uint16 Hz_SF
Hz_SF   17 sunssf -
VAr     20 int16  VAr_SF
VAr_SF  21 sunssf -
PF      22 int16  PF_SF
PF_SF   23 sunssf -
WH      24 acc32  WH_SF
WH_SF   26 sunssf -
DCA     27 uint16 DCA_SF
DCA_SF  28 sunssf -
DCV     29 uint16 DCV_SF
DCV_SF  30 sunssf -
DCW     31 int16  DCW_SF
DCW_SF  32 sunssf -
TmpCab  33 int16  Tmp_SF
Tmp_SF  37 sunssf -
St      38 enum16 -
"""

# model: (registers of the fixed block with ID and L, lines of: point, offset from ID, type, scale factor[, rw])
BLOCKS = {
    1: (68, "Mn 2 string*16 -\nMd 18 string*16 -\nVr 42 string*8 -\nSN 50 string*16 -"),
    101: (52, INVERTER),
    103: (52, INVERTER),
    120: (28, "WRtg 3 uint16 WRtg_SF\nWRtg_SF 4 sunssf -"),
    121: (32, "WMax 2 uint16 WMax_SF rw\nWMax_SF 22 sunssf -"),
    123: (
        26,
        """
        Conn                4 enum16 - rw
        WMaxLimPct          5 uint16 WMaxLimPct_SF rw
        WMaxLimPct_RvrtTms  7 uint16 - rw
        WMaxLim_Ena         9 enum16 - rw
        OutPFSet           10 int16  OutPFSet_SF rw
        OutPFSet_RvrtTms   12 uint16 - rw
        OutPFSet_Ena       14 enum16 - rw
        WMaxLimPct_SF      23 sunssf -
        OutPFSet_SF        24 sunssf -
        """,
    ),
    160: (10, "DCA_SF 2 sunssf -\nDCV_SF 3 sunssf -\nDCW_SF 4 sunssf -\nN 8 count -"),
    302: (2, ""),
    303: (2, ""),
    307: (13, "TmpAmb 2 int16 -1\nWndSpd 5 int16 -"),
}

# model: (name of the repeating group, registers of one repetition, lines with offsets from the repetition's start)
GROUPS = {
    160: ("module", 20, "ID 0 uint16 -\nDCA 9 uint16 DCA_SF\nDCV 10 uint16 DCV_SF\nDCW 11 uint16 DCW_SF"),
    302: ("repeating", 5, "POAI 1 uint16 -"),
    303: ("temp", 1, "TmpBOM 0 int16 -1"),
}

SIZES = {"uint16": 1, "int16": 1, "sunssf": 1, "enum16": 1, "count": 1, "acc32": 2}


def published(line: str) -> tuple[str, int, str, int, str | int | None, bool]:
    """(point, offset, type, registers, scale factor, writable) of a line above."""
    name, at, kind, sf, *access = line.split()
    kind, _, size = kind.partition("*")
    factor = None if sf == "-" else int(sf) if sf.lstrip("-").isdigit() else sf
    return name, int(at), kind, int(size) if size else SIZES[kind], factor, access == ["rw"]


def ours(point: ModelPoint) -> tuple[str, int, str, int, str | int | None, bool]:
    return point.id, point.at, point.type, point.size, point.sf, point.rw


@pytest.mark.parametrize("model", BLOCKS)
def test_fixed_blocks_are_as_published(model: int) -> None:
    size, lines = BLOCKS[model]
    table = definitions().models[model]
    assert table.size == size
    expected = [published(line) for line in lines.strip().splitlines()]
    assert [ours(table.points[one[0]]) for one in expected] == expected


@pytest.mark.parametrize("model", GROUPS)
def test_repeating_groups_are_as_published(model: int) -> None:
    name, size, lines = GROUPS[model]
    group = definitions().models[model].group
    assert group is not None
    assert (group.name, group.size) == (name, size)
    expected = [published(line) for line in lines.splitlines()]
    assert [ours(group.points[one[0]]) for one in expected] == expected


def test_a_model_without_a_repeating_group_has_none() -> None:
    assert {number for number, table in definitions().models.items() if table.group} == set(GROUPS)


def test_the_second_mppt_module_stands_one_repetition_after_the_first() -> None:
    length = 8 + 2 * 20  # registers after L: eight of the fixed block, two modules
    places = definitions().models[160].places("module.DCA", length)
    assert [at for at, _ in places] == [10 + 9, 10 + 20 + 9]


def test_what_is_not_available() -> None:
    """Not-available values of the SunSpec information model specification; 0 of an accumulator means not implemented."""
    na = definitions().na
    assert (na["int16"], na["uint16"], na["enum16"], na["sunssf"], na["acc32"]) == (0x8000, 0xFFFF, 0xFFFF, 0x8000, 0)
    assert (na["uint32"], na["bitfield32"], na["float32"]) == (0xFFFFFFFF, 0xFFFFFFFF, 0x7FC00000)
    assert definitions().marker == (0x5375, 0x6E53)  # "SunS"
    assert definitions().end == 0xFFFF


@pytest.mark.parametrize(
    ("model", "point", "exponent"),
    [
        (123, "WMaxLimPct", -1),
        (123, "OutPFSet", -3),
        # Seconds, which have no scale factor, though their names begin as those of points that have one.
        (123, "WMaxLimPct_RvrtTms", 0),
        (123, "OutPFSet_RvrtTms", 0),
        (103, "PPVphAB", -2),  # a scale factor that is not named after its point
        (103, "W", 1),
        (103, "WH", 2),
        (160, "module.DCA", -2),
        (303, "temp.TmpBOM", -1),  # constants of the model
        (307, "TmpAmb", -1),
        (64900, "DayWh", 3),  # a vendor block says it itself
        (999, "W", 0),
    ],
)
def test_each_point_has_the_scale_factor_of_its_model(model: int, point: str, exponent: int) -> None:
    sf = {"WMaxLimPct_SF": -1, "OutPFSet_SF": -3, "V_SF": -2, "W_SF": 1, "WH_SF": 2, "DCA_SF": -2}
    assert scale_exponent(model, point, sf=sf, fixed_sf={"DayWh": 3}) == exponent
