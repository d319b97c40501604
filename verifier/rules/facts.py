"""What the gates are computed from: proved sub-domains and the facts of an application. None means: not known yet."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from verifier.rules.types import Star
from verifier.states import State

CloudForm = Literal["public", "private", "hybrid"]


@dataclass(frozen=True, slots=True)
class CloudService:
    """One claimed cloud service. `every_month` and `every_day`: evidence of use in each month (day) of the three up to
    the cut-off."""

    name: str
    start: dt.date
    leaves: tuple[str, ...] = ()
    every_month: bool | None = None
    every_day: bool | None = None
    in_use_at_application: bool | None = None
    in_use_at_cutoff: bool | None = None


@dataclass(frozen=True, slots=True)
class Investment:
    """Money actually paid in the payment window, in CNY, contract, voucher and invoice together. `counted` is for the
    sub-domains required of the star applied for, with tax; `net` the same without; `all_sub_domains` the widest."""

    counted: Decimal
    net: Decimal | None = None
    all_sub_domains: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """An application. `leaves` holds the state of every sub-domain that was judged; `confirmed` the open-ended ones
    (其他…) that a person confirmed; `witnessed` says whether a machine of a claimed category was witnessed."""

    stars_applied: tuple[Star, ...]
    application_date: dt.date
    leaves: Mapping[str, State] = field(default_factory=dict[str, State])
    confirmed: frozenset[str] = frozenset()
    witnessed: bool = False
    simulated: bool = False
    in_jiangsu: bool | None = None
    legal_person: bool | None = None
    registration_date: dt.date | None = None
    finance_sound: bool | None = None
    credit_good: bool | None = None
    industry: str | None = None  # section letter of GB/T 4754
    holds_star: int = 0
    cloud_form: CloudForm | None = None
    signed_and_sealed: bool | None = None
    background_sound: bool | None = None
    plan_sound: bool | None = None
    services: tuple[CloudService, ...] = ()
    investment: Investment | None = None
    device_value_10k: Decimal | None = None
