"""rclone: a program, given whole directories."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.performance.drivers.base import Program
from benchmarks.performance.job import REGION, content, names

CHECKS = {
    "put": "the ETag of what was stored is the MD5 of the file",
    "get": "the bytes have the MD5 in the ETag",
    "copy": "nothing but sizes and ETags that the server tells",
    "move": "nothing but sizes and ETags that the server tells",
    "list": "nothing",
    "upload": "Content-MD5 of parts; an MD5 of the whole in the metadata",
    "download": "nothing in several streams; else the MD5 in ETag or metadata",
}


class Rclone(Program):
    """Its commands."""

    name = "rclone"

    def version(self) -> str:
        """The release."""
        first, *_ = self.run(["version"], os.environ).decode().splitlines()
        return first.split()[-1].lstrip("v")

    def _run(self, *arguments: str) -> bytes:
        job = self.job
        environment = {
            **os.environ,
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_CONFIG_PEER_TYPE": "s3",
            "RCLONE_CONFIG_PEER_PROVIDER": "Other",
            "RCLONE_CONFIG_PEER_ENDPOINT": job.endpoint_url,
            "RCLONE_CONFIG_PEER_REGION": REGION,
            "RCLONE_CONFIG_PEER_ACCESS_KEY_ID": job.access_key,
            "RCLONE_CONFIG_PEER_SECRET_ACCESS_KEY": job.secret_key,
        }
        workers = ["--transfers", str(job.threads)] if job.count and job.threads > 1 else []
        return self.run([*arguments, *workers, "--s3-no-check-bucket"], environment)

    def _at(self, key: str) -> str:
        return f"peer:{self.job.bucket}/{key}"

    def prepare(self) -> None:
        """Make the directory that is uploaded."""
        job, place = self.job, Path(self.job.place, "many")
        if job.verb == "put":
            place.mkdir()
            for name in names("", job.count):
                (place / name).write_bytes(content(job.size))

    def put_many(self, prefix: str, count: int, data: bytes) -> None:
        """The command copy, of a directory."""
        del count, data
        self._run("copy", str(Path(self.job.place, "many")), self._at(prefix), "--no-check-dest")

    def get_many(self, prefix: str, count: int, size: int) -> None:
        """The command copy, into a directory."""
        del count, size
        self._run("copy", self._at(prefix), str(Path(self.job.place, "got")), "--no-check-dest")

    def copy_many(self, prefix: str, target: str, count: int) -> None:
        """The command copy, of a prefix."""
        del count
        self._run("copy", self._at(prefix), self._at(target), "--no-check-dest")

    def move_many(self, prefix: str, target: str, count: int) -> None:
        """The command move, of a prefix."""
        del count
        self._run("move", self._at(prefix), self._at(target), "--no-check-dest")

    def list_keys(self, prefix: str) -> int:
        """The command lsf."""
        found = self._run("lsf", "--recursive", "--files-only", "--fast-list", self._at(prefix))
        return len(found.splitlines())

    def upload(self) -> None:
        """The command copyto."""
        self._run("copyto", self.job.path, self._at(self.job.key))

    def download(self) -> None:
        """The command copyto."""
        self._run("copyto", self._at(self.job.key), self.job.path)


DRIVER = Rclone
