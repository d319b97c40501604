"""The pages, each with a `router`."""

from dashboards.pages import admin, alarms, machine, notices, overview, rules, trend, verification

ROUTERS = tuple(one.router for one in (overview, machine, trend, alarms, rules, notices, verification, admin))
