"""A stock Varlink client talks to the admin socket."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from pathlib import Path

import pytest
import varlink

import hiod
from hiod.admin import schema
from hiod.admin.server import Access, AdminDoer, Request
from hiod.base.doing import Doist
from hiod.errors import AdminError


def handle(request: Request) -> None:
    if request.method == "list":
        row = schema.Row(name="ticker-0", spec="ticker", state="ready", pid=5101)
        request.reply(schema.ListReply(hands=[row], seq=412))
    elif request.method == "restart":
        request.progress(schema.ChangeReply(hands=[schema.Outcome(name="a", changed=True)]))
        request.reply(schema.ChangeReply(hands=[]))
    elif request.method == "status":
        raise AdminError("NoSuchHand", name=request.params.name, near=["web"])
    else:
        request.reply()


@pytest.fixture
def client():
    directory = Path(tempfile.mkdtemp(prefix="hd"))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / "a"))
    listener.listen(8)
    doer = AdminDoer([listener], handle, access=Access(boss_uid=0))
    doer.access = Access(boss_uid=directory.stat().st_uid)
    doist = Doist(real=True, doers=[doer])
    thread = threading.Thread(target=doist.do)
    thread.start()
    client = varlink.Client(f"unix:{directory}/a")
    yield client
    client.cleanup()
    doist.halt()
    thread.join(10)
    listener.close()
    shutil.rmtree(directory)
    assert not thread.is_alive()


def test_it_learns_what_the_service_is(client: varlink.Client) -> None:
    with client.open("org.varlink.service") as service:
        info = service.GetInfo()
    assert (info["product"], info["version"]) == ("hiod", hiod.__version__)
    assert set(info["interfaces"]) == {"org.varlink.service", "io.hiod.Boss"}


def test_it_reads_the_interface_and_calls_it(client: varlink.Client) -> None:
    with client.open("io.hiod.Boss") as boss:
        answer = boss.List()
    assert answer["seq"] == 412
    assert answer["hands"][0]["pid"] == 5101


def test_parameters_go_through_its_own_check(client: varlink.Client) -> None:
    with client.open("io.hiod.Boss", namespaced=True) as boss:
        assert boss.List(names=["ticker-0"], labels={}).hands[0].name == "ticker-0"


def test_it_gets_a_stream(client: varlink.Client) -> None:
    with client.open("io.hiod.Boss") as boss:
        heard = list(boss.Restart(names=["a"], _more=True))
    assert [len(answer["hands"]) for answer in heard] == [1, 0]


def test_it_gets_our_errors_with_their_parameters(client: varlink.Client) -> None:
    with client.open("io.hiod.Boss") as boss, pytest.raises(varlink.VarlinkError) as caught:
        boss.Status(name="wbe")
    assert caught.value.error() == "io.hiod.Boss.NoSuchHand"
    assert caught.value.parameters() == {"name": "wbe", "near": ["web"]}


def test_it_gets_varlinks_own_errors_as_such(client: varlink.Client) -> None:
    with client.open("io.hiod.Boss") as boss, pytest.raises(varlink.InvalidParameter) as caught:
        boss.Stop(names=[])
    assert caught.value.parameters()["parameter"] == "names"
