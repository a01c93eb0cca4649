import resource
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from calcarine import space
from calcarine.space import Memory, as_bytes, free_disk, held_at_most, memory, resident

GB = 10**9
V2 = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
IN_CONTAINER = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory"
UNLIMITED = 9223372036854771712


@pytest.fixture
def machine(tmp_path):
    """Files as a machine of 64 GB, 48 of them available, shows them; those of control groups are given."""

    def make(cgroup: str, mountinfo: str, files: dict[str, object]):
        own = tmp_path / "proc" / "self"
        own.mkdir(parents=True)
        (tmp_path / "proc" / "meminfo").write_text("MemTotal: 64000000 kB\nMemFree: 1 kB\nMemAvailable: 48000000 kB\n")
        (own / "cgroup").write_text(cgroup)
        (own / "mountinfo").write_text(f"22 1 8:1 / / rw - ext4 /dev/sda rw\n{mountinfo}\n")
        for name, content in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")
        return tmp_path

    return make


def test_without_groups_the_machine_is_the_limit(machine):
    assert memory(machine("", "", {})) == Memory(65_536_000_000, 49_152_000_000)


def test_what_can_be_swapped_out_counts(machine):
    root = machine("", "", {})
    with (root / "proc/meminfo").open("a") as file:
        file.write("SwapTotal: 2000 kB\nSwapFree: 1000 kB\n")
    assert memory(root) == Memory(65_538_048_000, 49_153_024_000)


def test_a_job_of_the_second_version_and_the_group_above_it(machine):
    files = {
        "user/memory.max": 16 * GB,
        "user/memory.current": 10 * GB,
        "user/memory.stat": f"anon {4 * GB}\nactive_file {2 * GB}\ninactive_file {4 * GB}",
        "user/job/memory.max": "max",
        "user/job/memory.current": 5 * GB,
    }
    assert memory(machine("0::/user/job\n", V2, files)) == Memory(16 * GB, 12 * GB)  # files can be dropped


def test_a_job_of_the_first_version(machine):
    files = {
        "memory/memory.limit_in_bytes": UNLIMITED,
        "memory/slurm/memory.limit_in_bytes": 8 * GB,
        "memory/slurm/memory.usage_in_bytes": 3 * GB,
        "memory/slurm/memory.stat": f"inactive_file 7\ntotal_inactive_file {1 * GB}\ntotal_active_file 0",
        "memory/slurm/step/memory.limit_in_bytes": UNLIMITED,
    }
    lines = "9:pids:/other\n4:cpu,memory:/slurm/step\n0::/\n"
    assert memory(machine(lines, V1, files)) == Memory(8 * GB, 6 * GB)


def test_a_container_is_shown_its_group_as_the_top(machine):
    files = {"memory/memory.limit_in_bytes": 2 * GB, "memory/memory.usage_in_bytes": GB}
    assert memory(machine("4:memory:/docker/abc\n", IN_CONTAINER, files)) == Memory(2 * GB, GB)


def test_a_path_of_another_namespace_takes_the_top(machine):
    files = {"memory.max": 4 * GB, "memory.current": 0}
    assert memory(machine("0::/../../outer\n", V2.replace(" / /sys", " /inner /sys"), files)).limit == 4 * GB


@pytest.mark.parametrize("cgroup", ["", "garbage", "0::/gone", "4:memory:/gone\n0::"])
def test_what_is_missing_or_damaged_limits_nothing(machine, cgroup):
    assert memory(machine(cgroup, f"{V1}\n{V2}\nx - y", {})).limit == 65_536_000_000


def test_nothing_left_is_0(machine):
    files = {"memory.max": GB, "memory.current": 2 * GB}
    assert memory(machine("0::/", V2, files)) == Memory(GB, 0)


def test_a_limit_of_the_address_space(machine, monkeypatch):
    root = machine("", "", {})
    (root / "proc/self/statm").write_text("1000 300 100 0 0 0 0")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (5 * GB, resource.RLIM_INFINITY))
    page = resource.getpagesize()
    assert memory(root) == Memory(5 * GB, 5 * GB - 1000 * page)
    assert resident(root) == 200 * page


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_the_most_that_a_process_has_held_is_its_own():
    """`getrusage` hands a parent's peak on to those it starts."""
    bytearray(b"1") * 400_000_000
    own = "from calcarine.space import held_at_most; print(held_at_most())"
    child = subprocess.run([sys.executable, "-c", own], check=True, capture_output=True, text=True)
    assert held_at_most() >= 400_000_000
    assert 0 < int(child.stdout) < 200_000_000


def test_here():
    here = memory()
    assert here is None or 0 < here.available <= here.limit


def test_disk_of_a_folder_that_will_be(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    seen = []
    monkeypatch.setattr(space.shutil, "disk_usage", lambda folder: seen.append(folder) or usage(9, 4, 5))
    assert free_disk(tmp_path / "not" / "yet") == 5
    assert seen == [tmp_path]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (999_700, "1 MB"), (3e9, "3 GB"), (4.2e12, "4.2 TB")],
)
def test_bytes_for_people(count, text):
    assert as_bytes(count) == text
