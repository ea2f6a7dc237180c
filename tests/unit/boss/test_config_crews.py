"""Three crews the format must serve: a web app, Doers in their own environment, a batch."""

from hiod.boss.config import build
from hiod.rules.checking import SourceFile
from hiod.rules.specs import DoerRef, Ready, Restart, Stop, instances

SHOP = """
# crew.d/shop.toml: a web app
defaults = { cwd = "/srv/shop", env_file = ["/etc/hiod/env/shop.env"] }
[hand.migrate]
command = ["venv/bin/python", "migrate.py"]
ready.by = "exit"
restart.policy = "never"
[hand.web]
command = ["venv/bin/gunicorn", "-b", "127.0.0.1:8000", "shop:app"]
after = ["migrate"]
ready = { by = "notify", timeout_s = 60 }
stop.grace_s = 40
[hand.queue]
command = ["venv/bin/celery", "-A", "shop", "worker", "-n", "w${HIOD_ORDINAL}"]
count = 4
after = ["migrate"]
"""

AGENT = """
[hand.agent]
python = "/srv/agent/venv/bin/python"
path = ["/srv/agent/src"]
doers = [
  "agent:Witness",
  { ref = "agent:Store", opts = { db = "${HIOD_STATE_DIR}/a.db" } },
  "agent:poller",
]
ready.by = "memo"
"""

_TRANSFORM = '["/srv/batch/transform", "${HIOD_ORDINAL}"], count = 4, after = ["fetch"]'
BATCH = f"""
defaults = {{ start = false, ready.by = "exit", restart.policy = "never" }}
hand.fetch = {{ command = ["/srv/batch/fetch"] }}
hand.transform = {{ command = {_TRANSFORM} }}
hand.load = {{ command = ["/srv/batch/load"], after = ["transform"] }}
"""


def hands(text):
    config = build([SourceFile("crew.d/x.toml", text, "/etc/hiod/crew.d")])
    return {hand.name: hand for hand in config.hands}


def test_a_web_app_migrates_first_and_then_serves():
    crew = hands(SHOP)

    assert list(crew) == ["migrate", "web", "queue"]
    assert {hand.cwd for hand in crew.values()} == {"/srv/shop"}
    assert {hand.env_file for hand in crew.values()} == {("/etc/hiod/env/shop.env",)}
    assert crew["migrate"].ready == Ready("exit", timeout_s=None)
    assert crew["migrate"].restart == Restart("never")
    assert crew["migrate"].command == ("venv/bin/python", "migrate.py")
    assert (crew["web"].after, crew["web"].ready) == (("migrate",), Ready("notify", timeout_s=60.0))
    assert crew["web"].stop == Stop(grace_s=40.0)
    assert crew["queue"].ready == Ready("start")
    assert [name for name, _ in instances(crew["queue"])] == [f"queue-{n}" for n in range(4)]


def test_doers_run_in_an_environment_of_their_own():
    agent = hands(AGENT)["agent"]

    assert agent.python == "/srv/agent/venv/bin/python"
    assert agent.path == ("/srv/agent/src",)
    assert agent.doers == (
        DoerRef("agent:Witness"),
        DoerRef("agent:Store", opts={"db": "${HIOD_STATE_DIR}/a.db"}),
        DoerRef("agent:poller"),
    )
    assert agent.ready == Ready("memo")


def test_a_batch_waits_to_be_started_and_runs_in_order():
    crew = hands(BATCH)

    assert list(crew) == ["fetch", "transform", "load"]
    assert not any(hand.start for hand in crew.values())
    assert {hand.ready for hand in crew.values()} == {Ready("exit", timeout_s=None)}
    assert {hand.restart.policy for hand in crew.values()} == {"never"}
    assert crew["transform"].count == 4
    assert (crew["transform"].after, crew["load"].after) == (("fetch",), ("transform",))
