"""Objects of several GiB: minutes and tens of GiB of disk, so only by `tox -e large`."""
