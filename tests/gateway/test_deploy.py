"""What is in deploy/: the compose file by the rules of compose, and the commands of the image.

No engine is needed. Variables are put in here as the compose file reference says
("Interpolation"), and the container's paths are led to where its volumes come from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import jsonschema
import pytest
import yaml
from dotenv import dotenv_values

from object_clerk.gateway.settings import GatewaySettings
from object_clerk.testing import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATIENCE_S = 120

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

STORAGE_VOLUME = "- ${STORAGE_CONFIG}:/app/storage.yaml:ro"
DATA_VOLUME = "- ${HOST_STORAGE_PATH}:/data"

#: What we use of compose, by its file reference.
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["services"],
    "properties": {
        "services": {"type": "object", "additionalProperties": {"$ref": "#/$defs/service"}},
        "volumes": {"type": "object", "additionalProperties": {"type": ["object", "null"]}},
    },
    "$defs": {
        "texts": {"type": "array", "items": {"type": "string"}},
        "service": {
            "type": "object",
            "additionalProperties": False,
            "required": ["image", "restart"],
            "properties": {
                "image": {"type": "string", "pattern": "^[a-z0-9/-]+(:[a-z0-9.-]+)?$"},
                "build": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "context": {"type": "string"},
                        "dockerfile": {"type": "string"},
                    },
                },
                "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
                "stop_grace_period": {"type": "string", "pattern": "^[0-9]+s$"},
                "ports": {
                    "type": "array",
                    "items": {"type": "string", "pattern": "^[0-9]+:[0-9]+$"},
                },
                "env_file": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["path"],
                        "properties": {
                            "path": {"type": "string"},
                            "required": {"type": "boolean"},
                        },
                    },
                },
                "environment": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "propertyNames": {"pattern": "^[A-Z0-9_]+$"},
                },
                "volumes": {
                    "type": "array",
                    "uniqueItems": True,
                    "items": {
                        "type": "string",
                        # A path, or the name of a volume; a path of the container; how.
                        "pattern": "^([./~][^:]*|[a-z][a-z0-9_-]*):/[^:]*(:r[ow])?$",
                    },
                },
                "profiles": {"$ref": "#/$defs/texts"},
                "command": {"$ref": "#/$defs/texts"},
                "cap_drop": {"$ref": "#/$defs/texts"},
                "cap_add": {"$ref": "#/$defs/texts"},
                "security_opt": {"$ref": "#/$defs/texts"},
            },
        },
    },
}

_VARIABLE = re.compile(
    r"\$(?:\$|(?P<bare>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-+?])(?P<word>[^}]*))?\})"
)


def put_in(text: str, variables: Mapping[str, str]) -> str:
    """Put the variables into one value of a compose file."""

    def one(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name, how, word = found["name"] or found["bare"], found["how"] or "", found["word"] or ""
        value = variables.get(name)
        is_there = bool(value) if how.startswith(":") else value is not None
        if how.endswith("?") and not is_there:
            raise ValueError(f"{name}: {word}")
        if how.endswith("+"):
            return word if is_there else ""
        return value or "" if is_there or not how else word

    return _VARIABLE.sub(one, text)


def put_in_everywhere(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: put_in_everywhere(each, variables) for name, each in value.items()}
    if isinstance(value, list):
        return [put_in_everywhere(each, variables) for each in value]
    return put_in(value, variables) if isinstance(value, str) else value


def uncomment(path: Path, *lines: str) -> None:
    """Take the ``# `` before these lines away; what follows on the line is not looked at."""
    text = path.read_text(encoding="utf-8")
    for line in lines:
        text, count = re.subn(rf"(?m)^( *)# ({re.escape(line)})", r"\1\2", text)
        assert count == 1, line
    path.write_text(text, encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class Deployment:
    """A copy of deploy/ with what somebody has made of it."""

    place: Path

    def composed(self, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What compose makes of its file, with these variables of the shell."""
        text = (self.place / "docker-compose.yml").read_text(encoding="utf-8")
        variables = {**self.dotenv(), **(environ or {})}
        return dict(put_in_everywhere(yaml.safe_load(text), variables))

    def dotenv(self) -> dict[str, str]:
        path = self.place / ".env"
        found = dotenv_values(path, interpolate=False) if path.is_file() else {}
        return {name: value or "" for name, value in found.items()}

    def service(self) -> dict[str, Any]:
        return dict(self.composed()["services"]["object-store"])

    def mounts(self) -> dict[str, Path]:
        """Path in the container -> path of the host; the longest first."""
        found = {}
        for each in self.service()["volumes"]:
            source, target = each.split(":")[:2]
            is_path = source.startswith((".", "/", "~"))
            found[target] = self.place / source if is_path else self.place / "volumes" / source
        return dict(sorted(found.items(), key=lambda item: -len(item[0])))

    def on_host(self, path: str) -> str:
        """Where something of the container really is."""
        for target, source in self.mounts().items():
            if path == target or path.startswith(f"{target}/"):
                return f"{source}{path.removeprefix(target)}"
        return path

    def environment(self) -> dict[str, str]:
        """The environment in the container, with the paths of the host."""
        given = {**image_environment(), **self.dotenv(), **self.service()["environment"]}
        return {name: self.on_host(value) for name, value in given.items()}


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A checkout's deploy/, in which somebody has made tokens as the documentation says."""
    place = tmp_path / "deploy"
    shutil.copytree(DEPLOY, place, ignore=shutil.ignore_patterns("data"))
    for name in (".env", "tokens.json", "storage.yaml"):
        (place / name).unlink(missing_ok=True)
    (place / "volumes" / "state").mkdir(parents=True)
    monkeypatch.chdir(place)
    return Deployment(place)


def dockerfile(instruction: str) -> str:
    """What follows this instruction in the last stage of the Dockerfile."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(rf"(?m)^ *{instruction} +(.*)$", text.rpartition("\nFROM ")[2])
    assert len(found) == 1, instruction
    return str(found[0])


def image_environment() -> dict[str, str]:
    return dict(each.split("=", 1) for each in shlex.split(dockerfile("ENV")))


def option_a(deployment: Deployment) -> None:
    shutil.copy("dotenv.template", ".env")


def option_b(deployment: Deployment) -> None:
    option_a(deployment)
    uncomment(deployment.place / ".env", "STORAGE_CONFIG=", "HOST_STORAGE_PATH=")
    uncomment(deployment.place / "docker-compose.yml", STORAGE_VOLUME, DATA_VOLUME)
    shutil.copy("storage.yaml.template", "storage.yaml")


def option_c(deployment: Deployment) -> None:
    option_a(deployment)
    uncomment(deployment.place / ".env", "STORAGE_CONFIG=", "S3_BUCKET=", "S3_ENDPOINT=")
    uncomment(deployment.place / ".env", "S3_ACCESS_KEY=", "S3_SECRET_KEY=")
    uncomment(deployment.place / "docker-compose.yml", STORAGE_VOLUME)
    shutil.copy("storage.s3.yaml.template", "storage.yaml")


OPTIONS = [option_a, option_b, option_c]


# -- the compose file ----------------------------------------------------------------------


class TestInterpolation:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("a$$b", "a$b"),
            ("${SET}-$SET", "x-x"),
            ("${UNSET}", ""),
            ("${UNSET:-d}${EMPTY:-d}${SET:-d}", "ddx"),
            ("${UNSET-d}${EMPTY-d}", "d"),
            ("${UNSET:+r}${EMPTY:+r}${SET:+r}", "r"),
            ("${SET:?said}", "x"),
        ],
    )
    def test_as_the_reference_says(self, text: str, found: str) -> None:
        assert put_in(text, {"SET": "x", "EMPTY": ""}) == found

    def test_what_is_needed(self) -> None:
        with pytest.raises(ValueError, match="UNSET: said"):
            put_in("${UNSET:?said}", {})


class TestCompose:
    @pytest.mark.parametrize("option", OPTIONS)
    def test_valid_after_the_documented_steps(self, deployment: Deployment, option: Any) -> None:
        option(deployment)

        composed = deployment.composed()

        jsonschema.validate(composed, SCHEMA)
        service = composed["services"]["object-store"]
        named = {each.split(":")[0] for each in service["volumes"]} - {
            each.split(":")[0] for each in service["volumes"] if each[0] in "./~"
        }
        assert named == set(composed["volumes"])
        targets = [each.split(":")[1] for each in service["volumes"]]
        assert targets == [
            "/app/host",
            "/app/state",
            *{option_a: [], option_b: ["/app/storage.yaml", "/data"]}.get(
                option, ["/app/storage.yaml"]
            ),
        ]

    def test_valid_as_shipped_without_any_variable(self, deployment: Deployment) -> None:
        composed = deployment.composed()

        jsonschema.validate(composed, SCHEMA)
        service = composed["services"]["object-store"]
        assert service["ports"] == ["8000:8000"]
        assert service["volumes"] == ["./:/app/host:ro", "state:/app/state"]
        assert service["environment"]["STORAGE_CONFIG"] == ""
        assert GatewaySettings.load(service["environment"], False).storage_config is None

    def test_a_mount_without_its_variable_is_no_valid_one(self, deployment: Deployment) -> None:
        uncomment(deployment.place / "docker-compose.yml", STORAGE_VOLUME, DATA_VOLUME)
        with pytest.raises(jsonschema.ValidationError, match="does not match"):
            jsonschema.validate(deployment.composed(), SCHEMA)

    def test_variables_of_the_host(self, deployment: Deployment) -> None:
        given = {
            "HOST_PORT": "9000",
            "WORKERS": "4",
            "LOG_LEVEL": "debug",
            "STORAGE_NAME": "other",
            "TOKENS_DIR": "/etc/tokens",
            "TOKENS_FILE": "mine.json",
        }
        composed = deployment.composed(given)

        jsonschema.validate(composed, SCHEMA)
        service = composed["services"]["object-store"]
        assert service["ports"] == ["9000:8000"]
        assert service["volumes"][0] == "/etc/tokens:/app/host:ro"
        settings = GatewaySettings.load(service["environment"], False)
        assert (settings.workers, settings.log_level) == (4, "debug")
        assert settings.storage_name == "other"
        assert settings.auth_tokens_file == Path("/app/host/mine.json")

    def test_redis_is_only_there_if_it_is_wanted(self, deployment: Deployment) -> None:
        option_a(deployment)
        uncomment(deployment.place / ".env", "COMPOSE_PROFILES=", "RATE_LIMIT_STORE=")
        composed = deployment.composed()

        profiles = {name: each.get("profiles", []) for name, each in composed["services"].items()}
        assert profiles == {"object-store": [], "redis": [deployment.dotenv()["COMPOSE_PROFILES"]]}
        host = httpx2.URL(deployment.environment()["RATE_LIMIT_STORE"]).host
        assert host in composed["services"]

    def test_time_to_end(self, deployment: Deployment) -> None:
        from object_clerk.gateway.server import GRACE_S

        assert int(deployment.service()["stop_grace_period"].rstrip("s")) > GRACE_S

    def test_every_variable_of_the_template_is_known(self) -> None:
        template = (DEPLOY / "dotenv.template").read_text(encoding="utf-8")
        text = (DEPLOY / "docker-compose.yml").read_text(encoding="utf-8")
        s3 = (DEPLOY / "storage.s3.yaml.template").read_text(encoding="utf-8")
        fields = {each.name.upper() for each in GatewaySettings().explain()}
        for name in re.findall(r"(?m)^(?:# )?([A-Z0-9_]+)=", template):
            used = f"${{{name}" in text or f"${{{name}}}" in s3
            assert used or name in fields | {"COMPOSE_PROFILES"}, name

    def test_what_is_secret_or_made_is_not_for_the_repository_or_the_image(self) -> None:
        ignored = (DEPLOY / ".gitignore").read_text(encoding="utf-8").split()
        assert {"/.env", "/tokens.json*", "/storage.yaml", "/data/"} <= set(ignored)
        kept = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        assert kept[1] == "*"
        assert not [line for line in kept if line.startswith("!") and "env" in line]


# -- the image -----------------------------------------------------------------------------


class TestImage:
    def test_what_it_is_made_of(self) -> None:
        text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
        assert re.findall(r"(?m)^FROM (\S+)", text) == ["python:3.12-slim"] * 2
        extras = re.search(r"\.whl\)\[([a-z,]+)\]", text)
        assert extras is not None
        assert extras[1].split(",") == ["cli", "gateway", "redis"]
        assert json.loads(commands()[1]) == ["object-clerk", "serve", "--host", "0.0.0.0"]

    def test_the_sources_that_it_takes_are_there(self) -> None:
        kept = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        for line in kept:
            if line.startswith("!"):
                assert (ROOT / line[1:]).exists(), line
        assert (DEPLOY / "entrypoint.sh").stat().st_mode & stat.S_IXUSR


def commands() -> tuple[str, str]:
    """The command of the health check, and that of the image, as JSON."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    check, serve = re.findall(r"(?m)^ *CMD (\[.*\])$", text)
    return check, serve


@dataclasses.dataclass(frozen=True)
class Served:
    """What the image's command serves."""

    client: httpx2.Client
    process: subprocess.Popen[str]


def with_token(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def tokens(*arguments: str) -> str:
    """Run the documented command, on the host; the last line that it prints."""
    command = [sys.executable, "-m", "object_clerk.gateway.tokens", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S)
    return done.stdout.splitlines()[-1]


ALL = ("--ttl", "365", "--scope", "read", "--scope", "write", "--scope", "delete")


@contextlib.contextmanager
def serving(deployment: Deployment) -> Iterator[Served]:
    """Run the image's command in the container's environment, but at a free loopback port."""
    storage = deployment.place / "storage.yaml"
    if storage.exists():
        text = storage.read_text(encoding="utf-8")
        data = deployment.on_host("/data")
        storage.write_text(text.replace(": /data\n", f": {data}\n"), encoding="utf-8")
    command = json.loads(commands()[1])
    command[command.index("0.0.0.0")] = "127.0.0.1"
    command[:1] = [sys.executable, "-m", "object_clerk.cli"]
    elsewhere = deployment.place / "volumes"  # as little in it as in the image's /app
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    with subprocess.Popen(
        command,
        cwd=elsewhere,
        env={**kept, **deployment.environment(), "PORT": "0", "HOME": str(elsewhere)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "serving at http://127.0.0.1:" in line
            with httpx2.Client(base_url=line.split()[-1], timeout=PATIENCE_S) as client:
                yield Served(client, process)
        finally:
            process.kill()


@pytest.fixture
def served(request: pytest.FixtureRequest, deployment: Deployment) -> Iterator[Served]:
    request.param(deployment)
    with serving(deployment) as found:
        yield found


def moto(deployment: Deployment) -> None:
    """Option C, with the S3 of the test; see the fixture ``s3``."""
    option_c(deployment)
    path = deployment.place / ".env"
    text = path.read_text(encoding="utf-8")
    for name in ("S3_BUCKET", "S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        text = re.sub(rf"(?m)^{name}=.*", f"{name}={os.environ[f'TEST_{name}']}", text)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        server.create_bucket("mine")
        monkeypatch.setenv("TEST_S3_BUCKET", "mine")
        monkeypatch.setenv("TEST_S3_ENDPOINT", server.endpoint_url)
        monkeypatch.setenv("TEST_S3_ACCESS_KEY", server.access_key)
        monkeypatch.setenv("TEST_S3_SECRET_KEY", server.secret_key)
        yield server


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("served", [option_a, option_b, moto], indirect=True)
def test_each_option_serves(served: Served) -> None:
    client = served.client
    assert client.get("/health").json()["status"] == "healthy"
    assert client.get("/ready").status_code == 200
    assert client.get("/objects/a").status_code == 401

    # The token is made, and replaced, on the host while the container runs.
    headers = with_token(tokens("add", "api-user", *ALL))
    assert client.put("/objects/a/b%20c", content=b"data", headers=headers).status_code == 200
    assert client.get("/objects/a/b%20c", headers=headers).content == b"data"
    renewed = with_token(tokens("refresh", "api-user", "--ttl", "365"))
    assert client.get("/objects/a/b%20c", headers=headers).status_code == 401
    assert client.get("/objects/a/b%20c", headers=renewed).content == b"data"

    # The image's own check of its health.
    check = json.loads(commands()[0])
    assert check[0] == "python"
    port = str(client.base_url.port)
    subprocess.run(
        [sys.executable, *check[1:]],
        env={**os.environ, "PORT": port},
        check=True,
        timeout=PATIENCE_S,
    )
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(PATIENCE_S) == 0


def test_objects_of_option_b_outlive_the_container(deployment: Deployment) -> None:
    option_b(deployment)
    headers = with_token(tokens("add", "api-user", *ALL))
    with serving(deployment) as served:
        put = served.client.put("/objects/a", content=b"data", headers=headers)
        assert put.status_code == 200
    with serving(deployment) as served:
        assert served.client.get("/objects/a", headers=headers).content == b"data"
    assert (deployment.place / "data" / "catalogue.sqlite3").exists()


def test_a_step_that_was_forgotten_is_told(deployment: Deployment) -> None:
    option_b(deployment)
    (deployment.place / "storage.yaml").unlink()
    (deployment.place / "storage.yaml").mkdir()  # as Docker does where a file is missing
    command = json.loads(commands()[1])
    done = subprocess.run(
        [sys.executable, "-m", "object_clerk.cli", *command[1:]],
        env={**os.environ, **deployment.environment(), "PORT": "0"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 7
    assert done.stderr.startswith("object-clerk: STORAGE_CONFIG: ")
    assert "storage.yaml" in done.stderr


class TestEntrypoint:
    @pytest.fixture
    def place(self) -> Iterator[Path]:
        """A directory that every user may enter."""
        if os.geteuid() != 0:
            pytest.skip("only root can become somebody else")
        if shutil.which("setpriv") is None:
            pytest.skip("there is no setpriv, which the image has")
        with tempfile.TemporaryDirectory() as directory:
            Path(directory).chmod(0o755)
            yield Path(directory)

    def run(self, place: Path, command: str) -> str:
        done = subprocess.run(
            [DEPLOY / "entrypoint.sh", "sh", "-c", command],
            env={
                "PATH": os.environ["PATH"],
                "AUTH_TOKENS_FILE": str(place / "tokens.json"),
                "WRITABLE": f"{place / 'data'} {place / 'none'}",
            },
            cwd=place,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.stdout + done.stderr

    def make_tokens(self, place: Path, owner: int, mode: int = 0o600) -> None:
        tokens = place / "tokens.json"
        tokens.write_text("[]", encoding="utf-8")
        tokens.chmod(mode)
        os.chown(tokens, owner, owner)

    def test_as_the_owner_of_the_tokens(self, place: Path) -> None:
        (place / "data").mkdir()  # root's, as Docker makes it
        self.make_tokens(place, 1234)

        said = self.run(place, "id -u; id -g; cat tokens.json; echo; : > data/new; ls data")

        assert said.split() == ["1234", "1234", "[]", "new"]
        assert (place / "data").stat().st_uid == 1234
        assert "denied" in self.run(place, ": > new")

    @pytest.mark.parametrize(("owner", "serves"), [(0, 1000), (1234, 1234)])
    def test_tokens_of_root_are_refused_with_the_command_that_helps(
        self, place: Path, owner: int, serves: int
    ) -> None:
        os.chown(place, owner, owner)
        self.make_tokens(place, 0)

        (line,) = self.run(place, "echo served").splitlines()
        said = f"as-clerk: user {serves} cannot read tokens.json, and nothing is served as root: "
        assert line.startswith(said)
        command = line.rpartition(" run: ")[2].split()
        assert command == ["chown", str(serves), "tokens.json"]
        subprocess.run(command, cwd=place, check=True, timeout=PATIENCE_S)

        assert self.run(place, "id -u; cat tokens.json").split() == [str(serves), "[]"]

    def test_nobody_has_more_rights_than_a_user(self, place: Path) -> None:
        """Not even where root's tokens may be read by all."""
        self.make_tokens(place, 0, 0o644)
        (place / "secret").touch(mode=0o600)

        said = self.run(place, "id -u; grep Cap /proc/self/status; cat secret")

        assert said.startswith("1000\n")
        capabilities = re.findall(r"Cap(?:Inh|Prm|Eff|Amb):\s(\S+)", said)
        assert capabilities == ["0" * 16] * 4
        assert "denied" in said

    def test_what_docker_has_to_allow(self, deployment: Deployment) -> None:
        assert deployment.service()["cap_drop"] == ["ALL"]
        assert set(deployment.service()["cap_add"]) == {"CHOWN", "SETGID", "SETUID"}

    def test_without_tokens_their_directory_tells(self, place: Path) -> None:
        os.chown(place, 1234, 1235)
        assert self.run(place, "id -u; id -g").split() == ["1234", "1235"]

    def test_a_directory_of_somebody_is_left_to_them(self, place: Path) -> None:
        (place / "data").mkdir()
        os.chown(place / "data", 4321, 4321)
        self.run(place, "true")
        assert (place / "data").stat().st_uid == 4321

    def test_a_user_who_was_chosen_stays(self, place: Path) -> None:
        done = subprocess.run(
            # By its text: a checkout in a home directory is not everybody's to read.
            ["setpriv", "--reuid=77", "--clear-groups", "sh", "-s", "id", "-u"],
            input=(DEPLOY / "entrypoint.sh").read_text(),
            env={"PATH": os.environ["PATH"]},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        assert done.stdout == "77\n"
