"""A region in one process: what follows from the seed, who is alive, and that it ends cleanly."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.towns import population, town_of
from yilian.base.digests import sha256
from yilian.node import read_genesis
from yilian.sim.founding import OPERATOR, found_region
from yilian.sim.members import MEMBERS
from yilian.sim.practitioners import PRACTITIONERS
from yilian.sim.region import choose_ports, running
from yilian.sim.software import Said
from yilian.vault import VaultExists

PORTS = {one.id: 40_000 + number for number, one in enumerate(MEMBERS)}


def test_the_same_seed_gives_the_same_network_and_another_seed_another(tmp_path):
    ids = [found_region(tmp_path / str(number), seed, 1_800_000_000, PORTS).genesis.network_id for number, seed in enumerate((1, 1, 2))]
    assert (ids[0] == ids[1], ids[0] == ids[2]) == (True, False)


def test_a_twin_process_founds_the_same_region_and_the_same_people(tmp_path):
    code = (
        "import sys, json; from pathlib import Path; from hashlib import sha256; from yilian.sim.founding import found_region;"
        "from yilian.sim.members import MEMBERS; from yilian.sim.population import make_population, chart_bundle;"
        "from yilian.ledger import start;"
        "ports = {one.id: 40_000 + number for number, one in enumerate(MEMBERS)};"
        "region = found_region(Path(sys.argv[1]), 5, 1_800_000_000, ports);"
        "people = make_population(5, 40, now_s=1_800_000_000);"
        "charts = json.dumps([chart_bundle(person, member) for person in people for member in person.charts]);"
        "print(start(region.genesis)[0].app_hash.hex(), sha256(charts.encode()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "77")
    }
    assert len(said) == 1
    assert len(said.pop().split()) == 2


def test_each_member_is_founded_with_a_folder_keys_and_the_genesis(tmp_path):
    founded = found_region(tmp_path / "region", 3, 1_800_000_000, PORTS)
    assert [one.id for one in founded.genesis.members] == [one.id for one in MEMBERS]
    assert founded.genesis.operator == OPERATOR
    assert {read_genesis(folder).network_id for folder in founded.folders.values()} == {sha256(founded.genesis.encoded())}
    assert {folder.stat().st_mode & 0o077 for folder in founded.folders.values()} == {0}


def test_a_home_that_holds_a_region_is_not_founded_again(tmp_path):
    found_region(tmp_path / "region", 3, 1_800_000_000, PORTS)
    with pytest.raises((VaultExists, FileExistsError)):
        found_region(tmp_path / "region", 3, 1_800_000_000, PORTS)


async def test_a_region_serves_and_leaves_no_process_and_no_open_port_behind(tmp_path):
    before = set(children())
    async with running(tmp_path, 3, choose_ports(None)) as region:
        ports = [int(url.rpartition(":")[2]) for url in region.urls.values()]
        for port in ports:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
    assert len(set(ports)) == len(MEMBERS)
    assert set(children()) == before
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


def children():
    return [pid for task in Path(f"/proc/{os.getpid()}/task").iterdir() for pid in (task / "children").read_text().split()]


@pytest.mark.slow
@pytest.mark.xdist_group("regions")
async def test_everybody_is_enrolled_where_they_have_a_chart_and_nobody_elsewhere(tmp_path):
    people = population(6)
    async with town_of(tmp_path / "region", people) as town:
        for person in people:
            assert await town.phone(person).holders() == sorted(person.charts)
        assert {name: seat.who.member for name, seat in town.seats.items()} == {one.name: one.member for one in PRACTITIONERS}
        with pytest.raises(Said) as no:
            await town.software["clinic-2"].read("hospital-1", "Observation", town.seats["dr-feng"])
        assert (no.value.status, no.value.number, no.value.name, no.value.facts) == (403, 9020, "NO_GRANT", {})
