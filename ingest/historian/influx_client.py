"""The wire to an InfluxDB: writes through influxdb-client's WriteApi (v2 write endpoint), reads on /query with CSV answers.

Both log in alike: with a token, or, where there are a user and a password, by HTTP Basic. (1.8 takes the token
"user:password" too, but not where the password holds a space.)
Everything here blocks. Raises HistorianUnavailable where waiting may help, HistorianError where it will not.
"""

import json
from typing import Any, cast
from urllib.parse import urlencode

import structlog
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS, WriteApi
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from urllib3.util import make_headers

from ingest.historian import influxql
from ingest.historian.base import HistorianError, HistorianUnavailable
from ingest.historian.influxql import Columns
from ingest.historian.settings import InfluxSettings, secret

_log = structlog.get_logger(__name__)

_ORG = "-"  # 1.8 ignores it, the client insists on it
_AGED_OUT = "beyond retention policy"
_UNUSABLE = 400
_TOO_MANY, _SERVER_FAULT, _NOT_FOUND, _UNAUTHORIZED, _FORBIDDEN = 429, 500, 404, 401, 403
_POOL = 8


class InfluxClient:
    """Connections to one database. May be used from several threads."""

    def __init__(self, settings: InfluxSettings) -> None:
        login = ""
        if settings.token_file is not None:
            login = f"Token {secret(settings.token_file)}"
        elif settings.username is not None and settings.password_file is not None:
            login = make_headers(basic_auth=f"{settings.username}:{secret(settings.password_file)}")["authorization"]
        self._url = settings.url.rstrip("/")
        self._database, self._policy = settings.database, settings.retention_policy
        self._headers = {"Authorization": login} if login else {}
        self._timeout = urllib3.Timeout(settings.timeout_s)
        pool: dict[str, Any] = {"ca_certs": settings.ca_file} if settings.ca_file else {}
        self._http = urllib3.PoolManager(maxsize=_POOL, retries=False, **pool)
        self._client = InfluxDBClient(
            self._url,
            token="-",  # the client insists on one; the real login is set below
            org=_ORG,
            timeout=int(settings.timeout_s * 1000),
            ssl_ca_cert=settings.ca_file,
            connection_pool_maxsize=_POOL,
        )
        if login and self._client.api_client is not None:
            self._client.api_client.set_default_header("Authorization", login)
        self._writer: WriteApi = self._client.write_api(write_options=SYNCHRONOUS)

    def create_database(self) -> None:
        """Create the database where there is none."""
        databases = json.loads(self._request("SHOW DATABASES", "application/json", method="GET"))
        listed = [series for result in databases.get("results", []) for series in result.get("series", [])]
        if any([self._database] in series.get("values", []) for series in listed):
            return
        answer = self._request(
            f"CREATE DATABASE {influxql.identifier(self._database)}", "application/json", method="POST"
        )
        _raise_error(answer)

    def write(self, body: bytes) -> None:
        """Send lines with ms times."""
        bucket = f"{self._database}/{self._policy}"
        try:
            self._writer.write(bucket=bucket, org=_ORG, record=body, write_precision=cast(Any, WritePrecision.MS))
        except ApiException as error:
            reason = str(error.body or error.reason or "")
            if error.status == _UNUSABLE and _AGED_OUT in reason:
                _log.warning(
                    "rows older than the retention policy were dropped", policy=self._policy, reason=reason[:200]
                )
                return  # the others are stored
            raise _fault(int(error.status or 0), reason) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise HistorianUnavailable(f"{self._url}: {error}") from error

    def query(self, query: str) -> Columns:
        """Columns of a single SELECT or SHOW.

        A CSV answer leaves a statement's own error out, so an empty one is asked for again as JSON, which does not.
        """
        answer = self._request(query, "application/csv", method="GET")
        if not answer.strip():
            _raise_error(self._request(query, "application/json", method="GET"))
        try:
            columns = influxql.parse(answer)
        except ValueError as error:
            raise HistorianError(f"{self._url}: unreadable answer: {error}") from error
        if list(columns) == ["error"]:
            raise HistorianError(f"{self._url}: {columns['error'][:1]}")
        return columns

    def close(self) -> None:
        """Let go of connections."""
        self._writer.close()
        self._client.close()
        self._http.clear()

    def _request(self, query: str, accept: str, *, method: str) -> str:
        parameters = {"q": query, "epoch": "ms", "db": self._database, "rp": self._policy}
        try:
            answer = self._http.request(
                method,
                f"{self._url}/query?{urlencode(parameters)}",
                headers={"Accept": accept, **self._headers},
                timeout=self._timeout,
            )
            body = answer.data.decode(errors="replace")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise HistorianUnavailable(f"{self._url}: {error}") from error
        if answer.status != 200:
            raise _fault(answer.status, body)
        return body


def _fault(status: int, body: str) -> HistorianError:
    body = body.strip()[:500]
    if status == 0 or status == _TOO_MANY or status >= _SERVER_FAULT:
        return HistorianUnavailable(f"InfluxDB answers {status}: {body}")
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        return HistorianUnavailable(f"InfluxDB refuses our login ({status}): {body}")
    if status == _NOT_FOUND:  # the database was dropped: it is created again before the next attempt
        return HistorianUnavailable(f"InfluxDB has no such database: {body}")
    return HistorianError(f"InfluxDB answers {status}: {body}")


def _raise_error(answer: str) -> None:
    try:
        parsed = json.loads(answer)
    except ValueError as error:
        raise HistorianError(f"unreadable answer: {answer[:200]}") from error
    errors = [parsed.get("error"), *(result.get("error") for result in parsed.get("results", []))]
    found = next((e for e in errors if e), None)
    if found and ("database not found" in found or "timeout" in found):
        raise HistorianUnavailable(found)
    if found:
        raise HistorianError(found)
