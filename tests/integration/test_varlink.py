"""A stock Varlink client from PyPI talks to a real boss."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import varlink

import hiod
from hiod.admin import drawing, schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.boss import Boss

pytest_plugins = ("support.boss",)


@pytest.fixture(scope="module")
def crew(module_boss: Boss) -> Boss:
    boss = module_boss
    boss.crew('[hand.web]\ndoers = []\n[hand.worker]\ncommand = ["sleep", "1000"]\ncount = 2\n')
    boss.start()
    boss.until("web", state="ready")
    return boss


@pytest.fixture
def client(crew: Boss) -> Iterator[varlink.Client]:
    client = varlink.Client(f"unix:{crew.admin_socket}")
    yield client
    client.cleanup()


def test_it_learns_what_the_service_is(client: varlink.Client):
    with client.open("org.varlink.service") as service:
        info = service.GetInfo()

    assert (info["vendor"], info["product"], info["version"]) == ("hiod", "hiod", hiod.__version__)
    assert set(info["interfaces"]) == {"org.varlink.service", "io.hiod.Boss"}


def test_it_reads_the_interface_and_finds_every_method_and_error(client: varlink.Client):
    with client.open("org.varlink.service") as service:
        text = service.GetInterfaceDescription("io.hiod.Boss")["description"]

    assert text == drawing.interface_text()
    interface = varlink.Interface(text)
    assert interface.name == "io.hiod.Boss"
    known = {method.long.rpartition(".")[2] for method in schema.METHODS}
    assert set(interface.members) >= known | set(schema.ERRORS)


def test_it_calls_what_it_found(client: varlink.Client, crew: Boss):
    with client.open("io.hiod.Boss") as boss:
        answer = boss.List()
        about = boss.About()

    assert [row["name"] for row in answer["hands"]] == ["web", "worker-0", "worker-1"]
    assert crew.process is not None
    assert (about["pid"], about["role"]) == (crew.process.pid, "admin")


def test_every_method_that_only_looks_passes_its_own_check_of_the_reply(client: varlink.Client):
    with client.open("io.hiod.Boss", namespaced=True) as boss:
        assert boss.List(names=["web"], labels={}).hands[0].name == "web"
        assert boss.Status(name="web").memo.registered
        assert boss.Events(since=0, limit=5, names=[], labels={}, events=[]).events
        assert boss.Why(names=["web"], labels={}).hands[0].state == "ready"
        assert boss.Plan().changes == []
        assert boss.Export(names=[], labels={}).text.startswith("[hand.web]")
        assert boss.Schema(method="list").schema["methods"]
        boss.Ping()


def test_it_gets_a_stream_that_ends(client: varlink.Client):
    with client.open("io.hiod.Boss") as boss:
        heard = list(boss.Restart(names=["worker"], wait="ready", timeout_s=20.0, _more=True))

    assert {one["name"] for one in heard[-1]["hands"]} == {"worker-0", "worker-1"}
    assert all(one["state"] == "running" for one in heard[-1]["hands"])


def test_it_gets_a_stream_that_does_not(client: varlink.Client, crew: Boss):
    with client.open("io.hiod.Boss") as boss:
        stream = boss.Subscribe(events=["admin.done"], _more=True)
        first = next(stream)
        crew.ask("signal", names=["worker"], signal="CONT")
        told = next(stream)

    assert [row["name"] for row in first["hands"]] == ["web", "worker-0", "worker-1"]
    assert [one["facts"]["method"] for one in told["events"]] == ["signal"]


def test_it_gets_our_errors_with_their_parameters(client: varlink.Client):
    with client.open("io.hiod.Boss") as boss, pytest.raises(varlink.VarlinkError) as caught:
        boss.Status(name="wbe")

    assert caught.value.error() == "io.hiod.Boss.NoSuchHand"
    assert caught.value.parameters() == {"name": "wbe", "near": ["web"]}


def test_it_gets_all_problems_of_a_definition(client: varlink.Client):
    with client.open("io.hiod.Boss") as boss, pytest.raises(varlink.VarlinkError) as caught:
        boss.Add(spec={"name": "Bad", "doers": ["nocolon"]}, wait="ready", timeout_s=1.0)

    assert caught.value.error() == "io.hiod.Boss.BadSpec"
    paths = [one["path"] for one in caught.value.parameters()["problems"]]
    assert set(paths) == {"spec.name", "spec.doers[0]"}


def test_it_gets_varlinks_own_errors_as_such(client: varlink.Client):
    with client.open("io.hiod.Boss") as boss, pytest.raises(varlink.InvalidParameter) as caught:
        boss.Stop(names=[])
    with (
        client.open("org.varlink.service") as service,
        pytest.raises(varlink.InterfaceNotFound) as missing,
    ):
        service.GetInterfaceDescription("io.hiod.Bos")

    assert caught.value.parameters()["parameter"] == "names"
    assert missing.value.parameters()["interface"] == "io.hiod.Bos"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_who_has_no_role_is_told_which_one_it_takes(crew: Boss):
    for folder in (crew.home.parent, crew.home):
        if folder.parent != folder and folder.name.startswith("hiod-"):
            folder.chmod(0o755)
    crew.admin_socket.chmod(0o666)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(5004)
            os.setuid(5004)
            with varlink.Client(f"unix:{crew.admin_socket}").open("io.hiod.Boss") as boss:
                boss.List()
        except varlink.VarlinkError as error:
            facts = error.parameters()
            told = (error.error(), facts["needs"], facts["have"], facts["user"])
            wanted = ("io.hiod.Boss.NotPermitted", "read", "none", "5004")
            code = 0 if told == wanted else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
