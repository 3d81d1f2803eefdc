"""Ceph RADOS Gateway on a throw-away cluster: monitor, manager and one object store in memory.

The programs are the distribution's. Everything runs in the foreground, out of one directory, with
one keyring for all keys.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid

from .common import LOOPBACK, Endpoint, StartFailed, Unavailable, Workplace, free_ports

_PACKAGES = ("radosgw", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph-common")
_PROGRAMS = (
    "radosgw",
    "radosgw-admin",
    "ceph-mon",
    "ceph-mgr",
    "ceph-osd",
    "ceph",
    "ceph-authtool",
    "monmaptool",
)
_ACCESS_KEY = "cephaccess"
_SECRET_KEY = "cephsecret1234567890"
_MEMORY_BYTES = 6 * 1024**3

# Who may do what in the cluster.
_KEYS = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    "mgr.a": {"mon": "allow profile mgr", "osd": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *", "mgr": "allow profile osd"},
    "client.rgw.a": {"mon": "allow rw", "osd": "allow rwx", "mgr": "allow rw"},
}


def _missing() -> list[str]:
    return [program for program in _PROGRAMS if shutil.which(program) is None]


def install() -> None:
    """Install the Debian packages, as root only."""
    if not _missing():
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *_PACKAGES]
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Unavailable(f"missing programs; as root on Debian: {' '.join(command)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, env=environment, check=True, timeout=3600)


def start(place: Workplace) -> Endpoint:
    """Make a cluster and start the gateway on it, which takes a quarter of a minute."""
    if missing := _missing():
        packages = " ".join(_PACKAGES)
        raise Unavailable(
            f"missing programs: {', '.join(missing)}; as root: apt-get install"
            f" --no-install-recommends {packages}, or python -m tests.servers install ceph"
        )
    port, monitor_port = free_ports(2)
    cluster = str(uuid.uuid4())
    for name in ("mon", "mgr", "osd", "rgw", "crash"):
        place.make(name)
    conf = place.write("ceph.conf", _configuration(place, cluster, port, monitor_port))
    keyring = place.directory / "keyring"
    for position, (name, capabilities) in enumerate(_KEYS.items()):
        command = ["ceph-authtool", str(keyring), "--gen-key", "-n", name]
        command += ["--create-keyring"] if position == 0 else []
        for service, allowed in capabilities.items():
            command += ["--cap", service, allowed]
        place.run("keys", command, timeout=30)

    monmap = place.directory / "monmap"
    address = f"[v2:{LOOPBACK}:{monitor_port}]"
    place.run(
        "monmap",
        ["monmaptool", "--create", "--fsid", cluster, "--addv", "a", address, monmap],
        timeout=30,
    )
    with_conf = ("-c", conf)
    monitor = ["ceph-mon", *with_conf, "-i", "a"]
    place.run(
        "mon-mkfs", [*monitor, "--mkfs", "--monmap", monmap, "--keyring", keyring], timeout=60
    )
    place.spawn("mon", [*monitor, "-f"])
    ask = ["ceph", *with_conf, "--connect-timeout", "30"]
    place.run("status", [*ask, "-s"], timeout=60)  # returns once the monitor leads
    place.spawn("mgr", ["ceph-mgr", *with_conf, "-i", "a", "-f"])

    identity = str(uuid.uuid4())
    number = place.run("osd-new", [*ask, "osd", "new", identity], timeout=60).strip()
    store = ["ceph-osd", *with_conf, "-i", number]
    place.run("osd-mkfs", [*store, "--mkfs", "--osd-uuid", identity], timeout=60)
    place.spawn("osd", [*store, "-f"])
    deadline = time.monotonic() + 60
    while "1 up" not in place.run("osd-stat", [*ask, "osd", "stat"], timeout=60):
        place.check_alive()
        if time.monotonic() > deadline:
            raise StartFailed(f"the object store did not come up\n{place.logs()}")
        time.sleep(0.2)

    place.spawn("rgw", ["radosgw", *with_conf, "-n", "client.rgw.a", "-f"])
    url = f"http://{LOOPBACK}:{port}"
    place.wait_http(url, 120)
    user = ["--uid=clerk", "--display-name=clerk"]
    keys = [f"--access-key={_ACCESS_KEY}", f"--secret={_SECRET_KEY}"]
    place.run("user", ["radosgw-admin", *with_conf, "user", "create", *user, *keys], timeout=120)
    return Endpoint(url, _ACCESS_KEY, _SECRET_KEY)


def _configuration(place: Workplace, cluster: str, port: int, monitor_port: int) -> str:
    here = place.directory
    place.make("sock")
    place.make("log")
    # Without cephx ("none") everything but the gateway starts, and that fails with EACCES.
    # The garbage collection defaults would keep deleted objects in memory for hours.
    # Without tcp_nodelay each small GET takes 44 ms.
    return f"""\
[global]
fsid = {cluster}
mon_initial_members = a
mon_host = [v2:{LOOPBACK}:{monitor_port}]
public_addr = {LOOPBACK}
cluster_addr = {LOOPBACK}
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
keyring = {here}/keyring
run_dir = {here}/sock
admin_socket = {here}/sock/$name.asok
pid_file =
log_file = {here}/log/$name.ceph.log
mon_cluster_log_file = {here}/log/cluster.ceph.log
crash_dir = {here}/crash
setuser_match_path =
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 2000
mon_data_avail_warn = 1
mon_data_avail_crit = 1
[mon.a]
mon_data = {here}/mon
[mgr.a]
mgr_data = {here}/mgr
mgr_initial_modules =
[osd]
osd_data = {here}/osd
osd_objectstore = memstore
memstore_device_bytes = {_MEMORY_BYTES}
osd_op_num_shards = 2
osd_min_pg_log_entries = 50
osd_max_pg_log_entries = 100
[client.rgw.a]
rgw_data = {here}/rgw
rgw_frontends = beast endpoint={LOOPBACK}:{port} tcp_nodelay=1
rgw_thread_pool_size = 32
rgw_num_rados_handles = 1
rgw_enable_usage_log = false
rgw_enable_ops_log = false
rgw_dynamic_resharding = false
rgw_override_bucket_index_max_shards = 1
rgw_lc_max_objs = 1
rgw_gc_max_objs = 1
rgw_gc_obj_min_wait = 10
rgw_gc_processor_period = 15
rgw_gc_processor_max_time = 15
rgw_usage_max_shards = 1
"""
