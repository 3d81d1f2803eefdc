"""s5cmd: a program, given all its commands in one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.performance.drivers.base import Program
from benchmarks.performance.job import REGION, names

if TYPE_CHECKING:
    from collections.abc import Iterable

CHECKS = dict.fromkeys(["get", "copy", "move", "list", "download"], "nothing") | {
    "put": "the server checks SHA-256 or MD5 where the signature has it",
    "upload": "the server checks SHA-256 or MD5 where the signature has it",
}


class S5cmd(Program):
    """Its commands."""

    name = "s5cmd"

    def version(self) -> str:
        """The release of the program, which is not that of the package it comes in."""
        return self.run(["version"], os.environ).decode().strip().lstrip("v")

    def _run(self, *arguments: str) -> bytes:
        job = self.job
        environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": job.access_key,
            "AWS_SECRET_ACCESS_KEY": job.secret_key,
            "AWS_REGION": REGION,
        }
        workers = ["--numworkers", str(job.threads)] if job.count and job.threads > 1 else []
        return self.run(["--endpoint-url", job.endpoint_url, *workers, *arguments], environment)

    def _all(self, commands: Iterable[str]) -> None:
        path = Path(self.job.place, "commands")
        path.write_text("".join(f"{command}\n" for command in commands), encoding="utf-8")
        self._run("run", str(path))

    def _at(self, key: str) -> str:
        return f"s3://{self.job.bucket}/{key}"

    def put_many(self, prefix: str, count: int, data: bytes) -> None:
        """One file, copied so many times."""
        path = Path(self.job.place, "body")
        path.write_bytes(data)
        self._all(f"cp {path} {self._at(key)}" for key in names(prefix, count))

    def get_many(self, prefix: str, count: int, size: int) -> None:
        """Print all of them."""
        del size
        self._all(f"cat {self._at(key)}" for key in names(prefix, count))

    def copy_many(self, prefix: str, target: str, count: int) -> None:
        """The command cp."""
        pairs = zip(names(prefix, count), names(target, count), strict=True)
        self._all(f"cp {self._at(source)} {self._at(key)}" for source, key in pairs)

    def move_many(self, prefix: str, target: str, count: int) -> None:
        """The command mv."""
        pairs = zip(names(prefix, count), names(target, count), strict=True)
        self._all(f"mv {self._at(source)} {self._at(key)}" for source, key in pairs)

    def list_keys(self, prefix: str) -> int:
        """The command ls."""
        return len(self._run("ls", self._at(f"{prefix}*")).splitlines())

    def upload(self) -> None:
        """The command cp."""
        self._run("cp", self.job.path, self._at(self.job.key))

    def download(self) -> None:
        """The command cp."""
        self._run("cp", self._at(self.job.key), self.job.path)


DRIVER = S5cmd
