"""Looking at pages in a real browser, where there is one: Chromium driven by playwright, both optional.

What is drawn is described by numbers (how many colours a canvas has), so that it can be judged without a browser, and one
picture of each chart is kept for people. Nothing that a page does is an exception here.
"""

import asyncio
import hashlib
import importlib
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from verifier.evidence import to_b64

_log = structlog.get_logger(__name__)

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
START_S, PAGE_S, DRAWN_S = 15.0, 8.0, 4.0
MAX_PICTURE_BYTES = 300 << 10
MAX_TEXT = 200
MAX_FEATURES = 64

# What a viewer's browser shows of the chart and its figures, as plain data.
LOOK = """() => {
  const chart = document.querySelector('#chart');
  const canvases = chart ? [...chart.querySelectorAll('canvas')].slice(0, 8) : [];
  const canvas = canvases.map(c => {
    const found = new Set();
    try {
      const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      const step = Math.max(4, 4 * Math.floor(data.length / 4 / 200000));
      for (let i = 0; i < data.length && found.size < 64; i += step)
        if (data[i + 3]) found.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    } catch (e) { return {width: c.width, height: c.height, colours: 0}; }
    return {width: c.width, height: c.height, colours: found.size};
  });
  const features = {};
  for (const row of [...document.querySelectorAll('#features tr[data-series]')].slice(0, 64)) {
    const cells = features[row.dataset.series] = {};
    for (const td of row.querySelectorAll('td[data-feature]'))
      cells[td.dataset.feature] = [td.dataset.value || '', td.textContent.trim().slice(0, 200)];
  }
  const data = chart ? chart.dataset : {};
  return {chart: !!chart, query: data.query || '', from: data.from || '', to: data.to || '', canvas, features,
          shapes: chart ? chart.querySelectorAll('svg path, svg polyline').length : 0};
}"""


def find_browser(given: str | None) -> str | None:
    """The program of a browser: the one that the plan names, else the first there is."""
    names = (given,) if given else NAMES
    return next((path for name in names if name and (path := shutil.which(name))), None)


async def look_at(
    urls: Mapping[str, str], cookies: Sequence[Mapping[str, str]], *, browser: str | None, within_s: float
) -> tuple[str, dict[str, dict[str, Any]]]:
    """(why no browser looked, what it showed by name). Pages for which there was no time have a "reason"."""
    program = find_browser(browser)
    if program is None:
        return "no_browser", {}
    try:
        playwright = importlib.import_module("playwright.async_api")
    except ImportError:
        return "no_playwright", {}
    shown: dict[str, dict[str, Any]] = {}
    try:
        async with asyncio.timeout(START_S + within_s):
            await _look(playwright, program, urls, cookies, shown, within_s)
    except TimeoutError:
        reason = "browser_too_slow"
    except (playwright.Error, OSError) as error:
        _log.warning("the browser failed", program=program, reason=str(error)[:300])
        reason = "browser_failed"
    else:
        reason = ""
    for name in urls:
        shown.setdefault(name, {"reason": reason or "browser_too_slow"})
    return reason, shown


async def _look(
    playwright: Any,
    program: str,
    urls: Mapping[str, str],
    cookies: Sequence[Mapping[str, str]],
    shown: dict[str, dict[str, Any]],
    within_s: float,
) -> None:
    # Chromium refuses its sandbox to the superuser; everybody else keeps it.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    async with playwright.async_playwright() as started:
        opened = await started.chromium.launch(
            executable_path=program, args=[*arguments, "--disable-dev-shm-usage"], timeout=START_S * 1000
        )
        try:
            context = await opened.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=False)
            await context.add_cookies([dict(c) for c in cookies])
            loop = asyncio.get_running_loop()
            until = loop.time() + within_s
            for name, url in urls.items():
                if loop.time() > until:
                    break
                shown[name] = await _one(playwright, context, url)
        finally:
            await opened.close()


async def _one(playwright: Any, context: Any, url: str) -> dict[str, Any]:
    page = await context.new_page()
    try:
        answer = await page.goto(url, wait_until="load", timeout=PAGE_S * 1000)
        found = await page.evaluate(LOOK)
        loop = asyncio.get_running_loop()
        until = loop.time() + DRAWN_S
        while not _drawn(found) and loop.time() < until:
            await asyncio.sleep(0.2)
            found = await page.evaluate(LOOK)
        picture = await page.screenshot(type="png", timeout=PAGE_S * 1000)
        shown = _plain(found)
    except playwright.Error as error:
        return {"reason": f"page: {str(error)[:MAX_TEXT]}"}
    except (KeyError, TypeError, ValueError, AttributeError):  # the page put something else in the script's place
        return {"reason": "page: unreadable"}
    finally:
        await page.close()
    kept = to_b64(picture) if len(picture) <= MAX_PICTURE_BYTES else None
    return {
        "reason": "",
        "status": answer.status if answer else None,
        **shown,
        "picture_sha256": hashlib.sha256(picture).hexdigest(),
        "picture": kept,
    }


def _drawn(found: Mapping[str, Any]) -> bool:
    return bool(found["query"]) and (found["shapes"] > 1 or any(c["colours"] > 1 for c in found["canvas"]))


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the script in the page returned, cut to a size: a page could put anything in its place."""
    features = {
        str(series)[:MAX_TEXT]: {
            str(k)[:MAX_TEXT]: [str(v[0])[:MAX_TEXT], str(v[1])[:MAX_TEXT]] for k, v in list(cells.items())[:8]
        }
        for series, cells in list(found["features"].items())[:MAX_FEATURES]
    }
    canvas = [{k: int(c[k]) for k in ("width", "height", "colours")} for c in found["canvas"]]
    text = {k: str(found[k])[:MAX_TEXT] for k in ("query", "from", "to")}
    return {
        "chart": bool(found["chart"]),
        "shapes": int(found["shapes"]),
        "canvas": canvas,
        "features": features,
        **text,
    }
