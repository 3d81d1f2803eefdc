"""Programs of the distribution, unpacked below the cache directory: nothing is set up or started.

To install such a package would start a service, and needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .common import Unavailable, building, cache_directory, is_built


class Packages:
    """Some packages with one program.

    Args:
        name: what the command line calls them.
        program: the path of the program in them.
        *packages: their names; such of its libraries too as hardly any system has.
    """

    def __init__(self, name: str, program: str, *packages: str) -> None:
        self._name = name
        self._path = Path(program)
        self._packages = packages

    @property
    def _place(self) -> Path:
        return cache_directory() / f"{self._name}-debian"

    def install(self) -> None:
        """Download and unpack them, unless the program is there anyway.

        Raises:
            Unavailable: they cannot be had here.
        """
        if shutil.which(self._path.name):
            return
        try:
            with building(self._place) as needed:
                if needed:
                    self._run("apt-get", "download", *self._packages)
                    for package in sorted(self._place.glob("*.deb")):
                        self._run("dpkg-deb", "-x", package.name, ".")
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "stderr", None) or ""
            raise Unavailable(
                f"cannot unpack {' '.join(self._packages)}: {error} {output}"
            ) from error

    def _run(self, program: str, *arguments: str) -> None:
        # As root, apt would hand the download over to a user who may not write here.
        options = ["-o", "APT::Sandbox::User=root"] if program == "apt-get" else []
        subprocess.run(
            [program, *options, *arguments],
            cwd=self._place,
            check=True,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def program(self) -> tuple[str, dict[str, str]]:
        """The program, and the environment in which it finds its libraries.

        Raises:
            Unavailable: it is not installed.
        """
        if found := shutil.which(self._path.name):
            return found, {}
        unpacked = self._place / self._path
        if not (is_built(self._place) and unpacked.exists()):
            raise Unavailable(
                f"no {self._path.name}; python -m tests.servers install {self._name} unpacks it"
            )
        libraries = {str(path.parent) for path in (self._place / "usr" / "lib").rglob("*.so.*")}
        return str(unpacked), {"LD_LIBRARY_PATH": os.pathsep.join(sorted(libraries))}
