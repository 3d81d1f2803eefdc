"""Policies, killswitches and limits of /v1, and how they are configured."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, get_args

import pytest
from pydantic import BaseModel

from object_clerk.exceptions import ObjectClerkConfigurationException, ObjectClerkException
from object_clerk.gateway.v1.config import SessionsConfig
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.limits import LONGEST_DEBT_S, MOST_SCOPES, Limits
from object_clerk.store import ObjectStore
from tests.docs.rst import ROOT
from tests.gateway.v1.running import path, serving
from tests.gateway.v1.test_objects import refused, refused_plainly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.v1.running import Running

_CONFIG = """
http_addr: 0.0.0.0:8888
auth: {enforce: false}
usecases:
  cache:
    expiration:
      manual: {allowed: false}
      ttl: {max: 7d}
      tti: {allowed: true, max: 1 day 2h}
  fixed:
    expiration: {tti: {allowed: false}, ttl: {allowed: false}}
killswitches:
  - usecase: dead
  - usecase: half
    scopes: {org: 13}
  - scopes: [[org, 66], [project, x]]
    service: "relay-*"
"""


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    file = tmp_path / "sessions.yaml"
    file.write_text(_CONFIG)
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    with serving(tmp_path, store, monkeypatch, {"SESSIONS_CONFIG": str(file)}) as started:
        yield started


@pytest.mark.parametrize(
    ("usecase", "expiration", "status"),
    [("cache", None, 400), ("cache", "manual", 400), ("cache", "ttl:7d", 200),
     ("cache", "ttl:7d 1s", 400), ("cache", "tti:26h", 200), ("cache", "tti:27h", 400),
     ("fixed", None, 200), ("fixed", "ttl:1s", 400), ("fixed", "tti:1s", 400),
     ("other", "tti:90000d", 200), ("other", None, 200)],
)  # fmt: skip
def test_policies(running: Running, usecase: str, expiration: str | None, status: int) -> None:
    """Line 33."""
    headers = {} if expiration is None else {"x-sn-expiration": expiration}
    answer = running.client.put(path(usecase=usecase), headers=headers)
    assert answer.status_code == status
    if status == 400:
        refused(answer, 400, "usecase")
        assert running.stored() == []


def test_policy_holds_for_extensions(running: Running) -> None:
    """No further than it may live from now."""
    running.client.put(path(usecase="cache"), headers={"x-sn-expiration": "ttl:7d"})

    def extend(after: str, origin: str) -> Any:
        wanted = {"extend_expiry": {"after": after, "from": origin}}
        return running.client.patch(path(usecase="cache"), json=wanted)

    running.clock.go(days=1)
    assert extend("8d", "creation").status_code == 204
    refused(extend("7d 1s", "now"), 400, "usecase")


def test_killswitches(running: Running) -> None:
    """Line 34: 403 as text, and health is as it was."""
    client = running.client
    for at in (path(usecase="dead"), path("a", "org=13", "half"), path("a", "b=1;org=13", "half")):
        for method in ("PUT", "GET", "DELETE"):
            refused_plainly(client.request(method, at), 403)
    for at in (path("a", "org=14", "half"), path("a", "_", "half"), path()):
        assert client.put(at).status_code == 200
    both = path("a", "project=x;org=66")
    assert client.put(both).status_code == 200
    assert client.put(both, headers={"x-downstream-service": "api"}).status_code == 200
    service = {"x-downstream-service": "relay-1"}
    assert client.put(path("a", "org=66"), headers=service).status_code == 200
    refused_plainly(client.put(both, headers=service), 403)
    assert client.get("/health").status_code == 200


def test_throughput(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line 34: 429 as text, and when to come again; health is as it was."""
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    variables = {
        "OS__AUTH__ENFORCE": "false",
        "OS__RATE_LIMITS__THROUGHPUT__GLOBAL_RPS": "0.001",
        "OS__RATE_LIMITS__THROUGHPUT__BURST": "2",
    }
    with serving(tmp_path, store, monkeypatch, variables) as running:
        assert [running.client.put(path()).status_code for _ in range(2)] == [200, 200]
        answer = running.client.put(path())
        refused_plainly(answer, 429)
        assert int(answer.headers["retry-after"]) > 900
        assert running.client.get("/health").status_code == 200


def test_bandwidth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one request takes too much, the next ones wait for, within reason."""
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    variables = {"OS__AUTH__ENFORCE": "false", "OS__RATE_LIMITS__BANDWIDTH": "{global_bps: 100}"}
    with serving(tmp_path, store, monkeypatch, variables) as running:
        assert running.client.put(path(), content=bytes(1 << 20)).status_code == 200
        answer = running.client.get(path())
        refused_plainly(answer, 429)
        assert LONGEST_DEBT_S - 2 < int(answer.headers["retry-after"]) <= LONGEST_DEBT_S + 1


# -- buckets, by a clock of their own -----------------------------------------------------------


class _Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def limits(**rate_limits: Any) -> tuple[Limits, _Seconds]:
    clock = _Seconds()
    return Limits(SessionsConfig.of({"rate_limits": rate_limits}), clock), clock


def served(made: Limits, count: int, usecase: str = "a", **scopes: str) -> int:
    """How many of so many requests are served."""
    found = 0
    for _ in range(count):
        with contextlib.suppress(Problem):
            made.count(usecase, scopes, str(scopes))
            found += 1
    return found


def test_requests_come_back_with_time() -> None:
    made, clock = limits(throughput={"global_rps": 10, "burst": 5})
    assert served(made, 100) == 15
    clock.now = 0.5
    assert served(made, 100) == 5
    clock.now = 1000
    assert served(made, 100) == 15


def test_parts_of_the_rate() -> None:
    """A usecase and a scope have parts of it; what one refuses takes nothing from another."""
    made, _clock = limits(throughput={"global_rps": 100, "usecase_pct": 20, "scope_pct": 5})
    assert served(made, 50, "a", org="1") == 5
    assert served(made, 50, "a", org="2") == 5
    assert served(made, 50, "a", org="3") == 5
    assert served(made, 50, "a", org="4") == 5
    assert served(made, 50, "a", org="5") == 0
    assert sum(served(made, 50, f"b{n}", org=str(o)) for n in range(9) for o in range(4)) == 80


def test_rules() -> None:
    made, _clock = limits(
        throughput={
            "global_rps": 100,
            "rules": [
                {"usecase": "a", "rps": 3}, {"scopes": {"org": 7}, "pct": 10},
                {"usecase": "a", "rps": 50, "pct": 2},
            ],
        }
    )  # fmt: skip
    assert served(made, 20, "a") == 2
    assert served(made, 20, "b", org="7") == 10
    assert served(made, 20, "c") == 20


def test_bytes_come_back_with_time() -> None:
    made, clock = limits(bandwidth={"global_bps": 1000, "burst_ms": 2000, "scope_pct": 50})
    made.passed("a", "{}", 3000)
    assert served(made, 1) == 0
    clock.now = 2.1
    assert served(made, 1, "b") == 1  # of all there are some again
    assert served(made, 1) == 0
    clock.now = 4.1
    assert served(made, 1) == 1


def test_bytes_are_only_reported(caplog: pytest.LogCaptureFixture) -> None:
    made, _clock = limits(bandwidth={"global_bps": 1, "report_only": True})
    made.passed("a", "{}", 3000)
    assert served(made, 3) == 3
    assert "bandwidth" in caplog.text


def test_many_scopes() -> None:
    """They are forgotten in the end."""
    made, _clock = limits(throughput={"global_rps": 1e9, "scope_pct": 100})
    for number in range(MOST_SCOPES + 10):
        made.count("a", {}, str(number))
    assert len(made._requests._buckets) == MOST_SCOPES


# -- configuration -------------------------------------------------------------------------------


def test_variables_count_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "sessions.yaml"
    file.write_text(_CONFIG)
    config = SessionsConfig.load(
        {
            "SESSIONS_CONFIG": str(file),
            "OS__AUTH__ENFORCE": "true",
            "OS__USECASES__CACHE__EXPIRATION__TTL__MAX": "9d",
            "OS__USECASES": json.dumps({"only": {}}),
            "OS__HTTP_ADDR": "x",
            "OTHER__AUTH": "x",
        }
    )
    assert config.auth.enforce
    most = config.usecases["cache"].expiration.ttl.max
    assert most is not None
    assert most.days == 9
    assert set(config.usecases) == {"only", "cache"}
    assert "http_addr" in caplog.text


def test_defaults() -> None:
    config = SessionsConfig.load({})
    assert config.auth.enforce
    assert (config.sweep.interval, config.killswitches) == (None, ())


@pytest.mark.parametrize(
    ("variables", "said"),
    [({"OS__AUTH__ENFORCE": "perhaps"}, "auth.enforce"), ({"OS__AUTHH": "{}"}, "authh"),
     ({"OS__AUTH__KEYS": "{a: {}}"}, "auth.keys.a.key_files"), ({"OS__": "1"}, "OS__"),
     ({"OS__A____B": "1"}, "OS__A____B"), ({"OS__AUTH": "{"}, "OS__AUTH"),
     ({"OS__AUTH__KEYS": "{a: {key_files: []}}"}, "auth.keys.a.key_files"),
     ({"OS__AUTH__KEYS": "{a: {key_files: [x], max_permissions: [y]}}"}, "max_permissions"),
     ({"OS__USECASES": "{a: {expiration: {ttl: {max: soon}}}}"}, "usecases.a.expiration.ttl.max"),
     ({"OS__RATE_LIMITS__THROUGHPUT__GLOBAL_RPS": "0"}, "global_rps"),
     ({"OS__RATE_LIMITS__THROUGHPUT__USECASE_PCT": "101"}, "usecase_pct"),
     ({"OS__RATE_LIMITS__BANDWIDTH__GLOBAL_BPS": ".inf"}, "global_bps"),
     ({"OS__KILLSWITCHES": "[{scopes: 5}]"}, "killswitches"),
     ({"OS__KILLSWITCHES": "[{scopes: [5]}]"}, "killswitches"),
     ({"OS__SWEEP__INTERVAL": "0s"}, "sweep.interval"), ({"OS__SWEEP__BATCH": "0"}, "sweep.batch"),
     ({"SESSIONS_CONFIG": "/nowhere/sessions.yaml"}, "sessions.yaml")],
)  # fmt: skip
def test_mistakes(variables: dict[str, str], said: str) -> None:
    """They name the field."""
    with pytest.raises(ObjectClerkException) as caught:
        SessionsConfig.load(variables)
    assert isinstance(caught.value, ObjectClerkConfigurationException)
    assert said in str(caught.value)


def names_in(model: type[BaseModel]) -> set[str]:
    """The names of all fields, those of fields too."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        found.add(name)
        for each in (field.annotation, *get_args(field.annotation)):
            if isinstance(each, type) and issubclass(each, BaseModel):
                found |= names_in(each)
    return found


def test_every_setting_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "sessions_server.rst").read_text()
    names = names_in(SessionsConfig)
    assert {"enforce", "key_files", "global_rps", "interval", "service"} <= names
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()
