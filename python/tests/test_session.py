"""The blocking session against a fake farm: batching, positions, and what a lost stream must not do."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import fake
import grpc
import pytest
import trustme

import envfarm
from envfarm import pb

Make = Callable[..., tuple[fake.FakeFarm, envfarm.Farm]]


def start(session: envfarm.Session) -> None:
    for slot in range(session.slots):
        session.reset(slot, task="task-0", seed=slot)
    assert len(session.recv(min=session.slots)) == session.slots


def test_an_episode_can_be_played_to_its_end(fake_farm: Make) -> None:
    _, client = fake_farm()
    with client.acquire("counter", slots=2) as lease, lease.session(observations=["screenshot:jpeg", "axtree_txt"]) as session:
        start(session)
        for count in (1, 2, 3):
            session.step(1, "inc")
            (outcome,) = session.recv()
            assert (outcome.slot, outcome.episode, outcome.step) == (1, 1, count)
            assert outcome.transition is not None and outcome.failure is None and outcome.snapshot is None
            assert outcome.transition.obs["axtree_txt"] == f"task-0 1: {count}"
            assert outcome.transition.obs["screenshot"].shape == (fake.HEIGHT, fake.WIDTH, 3)
        assert outcome.transition.terminated and outcome.transition.reward == 1.0
        assert session.position(1) == (1, 3)


def test_queued_commands_leave_in_one_message(fake_farm: Make) -> None:
    farm, client = fake_farm()
    with client.acquire("counter", slots=50) as lease, lease.session() as session:
        start(session)
        for slot in range(50):
            session.step(slot, "inc")
        assert session.in_flight == 50
        assert len(session.recv(min=50)) == 50
    assert farm.batches == [50, 50]


def test_recv_waits_for_no_more_than_is_in_flight(fake_farm: Make) -> None:
    _, client = fake_farm()
    with client.acquire("counter", slots=2) as lease, lease.session() as session:
        assert session.recv(min=10, timeout=60) == []
        session.reset(0, task="task-0")
        assert len(session.recv(min=10, timeout=60)) == 1


def test_a_failure_is_data(fake_farm: Make) -> None:
    farm, client = fake_farm()
    with client.acquire("counter", slots=1) as lease, lease.session() as session:
        start(session)
        farm.fault = fake.Faults(0, 0)
        session.step(0, "inc")
        (outcome,) = session.recv()
        failure = outcome.failure
        assert failure is not None and outcome.transition is None
        assert (failure.code, failure.slot_state, failure.retryable) == ("host_lost", "lost", True)
        assert failure.action_may_have_applied and failure.field is None
        session.reset(0, task="task-0")
        assert session.recv()[0].episode == 2


def test_a_lost_stream_costs_nothing_but_time(fake_farm: Make) -> None:
    farm, client = fake_farm(goal=99)
    with client.acquire("counter", slots=8) as lease, lease.session(observations=["axtree_txt"]) as session:
        start(session)
        farm.drop_after = 3  # all 8 steps are carried out, 5 outcomes are lost with the stream
        for slot in range(8):
            session.step(slot, "inc")
        outcomes = session.recv(min=8)
        assert sorted(outcome.slot for outcome in outcomes) == list(range(8))
        assert sum(outcome.replayed for outcome in outcomes) == 5
        for outcome in outcomes:
            assert outcome.transition is not None
            assert outcome.transition.obs["axtree_txt"] == f"task-0 {outcome.slot}: 1"  # none was taken twice
        assert farm.attachments == 2 and session.in_flight == 0


def test_commands_queued_while_the_stream_was_lost_are_sent_once(fake_farm: Make) -> None:
    farm, client = fake_farm(goal=99)
    with client.acquire("counter", slots=2) as lease, lease.session() as session:
        start(session)
        farm.drop_after = 0
        session.step(0, "inc")
        session.flush()
        session.step(1, "inc")
        assert len(session.recv(min=2)) == 2
        steps = [command.slot for command in farm.commands if command.HasField("step")]
        assert steps.count(1) == 1


def test_a_session_goes_on_where_the_last_one_of_the_lease_stood(fake_farm: Make) -> None:
    _, client = fake_farm(goal=99)
    with client.acquire("counter", slots=1) as lease:
        with lease.session() as session:
            start(session)
            last = session.step(0, "inc")
            session.recv()
        with lease.session() as session:
            assert session.position(0) == (1, 1)
            assert session.step(0, "inc") > last
            (outcome,) = session.recv()
            assert outcome.failure is None and outcome.step == 2 and not outcome.replayed


def test_a_lease_that_is_gone_is_an_error_of_its_own(fake_farm: Make) -> None:
    farm, client = fake_farm()
    with client.acquire("counter", slots=1) as lease, lease.session() as session:
        start(session)
        farm.leases.clear()
        farm.drop_after = 0
        with pytest.raises(envfarm.LeaseLost):
            # The farm forgets the slot in the middle of a step, drops the stream, and does not know the lease any more.
            session.step(0, "inc")
            session.recv()


def test_a_slot_takes_one_command_at_a_time_but_prepares_beside_it(fake_farm: Make) -> None:
    _, client = fake_farm()
    with client.acquire("counter", slots=1) as lease, lease.session() as session:
        start(session)
        session.step(0, "inc")
        prepared = session.prepare(0, task="task-1", seed=5)
        with pytest.raises(RuntimeError, match="in flight"):
            session.step(0, "inc")
        outcomes = session.recv(min=2)
        assert [outcome.request_id for outcome in outcomes if outcome.prepared] == [prepared]
        assert session.position(0) == (1, 1)


def test_a_command_that_cannot_be_is_refused_before_it_is_sent(fake_farm: Make) -> None:
    _, client = fake_farm()
    with client.acquire("counter", slots=2) as lease, lease.session() as session:
        with pytest.raises(IndexError, match="slot 2"):
            session.step(2, "inc")
        with pytest.raises(IndexError, match="slot -1"):
            session.observe(-1)
        with pytest.raises(ValueError, match="timeout"):
            session.step(0, "inc", timeout=0)
        with pytest.raises(ValueError, match="dialect 'french'"):
            session.step(0, "inc", dialect="french")
        with pytest.raises(ValueError, match="either a task or a snapshot"):
            session.reset(0)
        with pytest.raises(ValueError, match="level 'deep'"):
            session.snapshot(0, level="deep")
        assert session.in_flight == 0


def test_every_command_says_what_the_api_wants(fake_farm: Make) -> None:
    farm, client = fake_farm()
    with client.acquire("counter", slots=1) as lease, lease.session(timeout=7) as session:
        session.reset(0, snapshot="abc", mode="in_place", step_limit=9, time_limit=1.5, timeout=2.5)
        session.recv()
        session.step(0, envfarm.Action(back=pb.Empty()))
        session.recv()
        session.step(0, "click [1]", dialect="webarena", observations=["url"])
        (outcome,) = session.recv()
        assert outcome.transition is not None and list(outcome.transition.obs) == ["url"]
        session.snapshot(0, level="replay")
        (outcome,) = session.recv()
        assert outcome.snapshot is not None and (outcome.snapshot.id, outcome.snapshot.level) == ("snapshot-1", "replay")
    reset, typed, text, snapshot = farm.commands
    assert reset.reset == pb.Reset(snapshot_id="abc", mode=pb.RESET_MODE_IN_PLACE, step_limit=9, time_limit_ms=1500)
    assert (reset.timeout_ms, typed.timeout_ms) == (2500, 7000)
    assert typed.step.typed.HasField("back")
    assert text.step.text == pb.ActionText(text="click [1]", dialect=pb.DIALECT_WEBARENA)
    assert snapshot.snapshot.level == pb.SNAPSHOT_LEVEL_REPLAY


def test_a_lease_is_renewed_until_it_is_released(fake_farm: Make) -> None:
    farm, client = fake_farm(ttl_ms=150)
    with client.acquire("counter", slots=1):
        assert farm.renewed.wait(10)
        farm.renewed.clear()
        assert farm.renewed.wait(10)
    assert farm.leases == {}


def test_a_lease_may_end_after_its_farm_was_closed(fake_farm: Make) -> None:
    _, client = fake_farm()
    lease = client.acquire("counter", slots=1)
    client.close()
    with pytest.raises(envfarm.FarmUnavailable, match="closed"):
        client.status()
    with lease:
        pass


def test_unary_calls_page_and_raise_typed_errors(fake_farm: Make) -> None:
    _, client = fake_farm()
    assert [task.id for task in client.tasks("counter")] == [f"task-{i}" for i in range(5)]
    assert client.environment("counter").viewport_width == fake.WIDTH
    with pytest.raises(KeyError, match="it has counter"):
        client.environment("poker")
    with pytest.raises(envfarm.RequestError, match="no environment poker"):
        client.acquire("poker", slots=1)


def test_the_token_travels_with_every_call_and_a_wrong_one_is_said_so(fake_farm: Make) -> None:
    _, client = fake_farm(token="secret")
    assert client.status().version == "fake"
    with pytest.raises(envfarm.AuthError, match="wrong token"):
        envfarm.connect(client.address, token="guess")


def test_tls_checks_the_certificate_and_then_carries_a_session(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("farm.example")
    pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    server, address = fake.serve(fake.FakeFarm(token="secret"), grpc.ssl_server_credentials([pair]))
    try:
        tls = envfarm.Tls(ca=tmp_path / "ca.pem", server_name="farm.example")
        with (
            envfarm.connect(address, token="secret", tls=tls) as client,
            client.acquire("counter", slots=1) as lease,
            lease.session() as session,
        ):
            start(session)
        for wrong in (envfarm.Tls(ca=tmp_path / "other.pem", server_name="farm.example"), envfarm.Tls(ca=tmp_path / "ca.pem")):
            with pytest.raises(envfarm.FarmUnavailable):
                envfarm.connect(address, token="secret", tls=wrong, timeout=1)
    finally:
        server.stop(None).wait()


def test_nobody_there_is_said_within_the_timeout() -> None:
    with pytest.raises(envfarm.FarmUnavailable, match="no farm answered"):
        envfarm.connect("127.0.0.1:1", timeout=0.3)


def test_an_action_that_no_farm_can_take_is_an_action_error(fake_farm: Make) -> None:
    farm, client = fake_farm()
    with client.acquire("counter", slots=1) as lease, lease.session() as session:
        start(session)
        for text in ("fill('1', '\ud800')", "é" * (1 << 20), "inc"):
            session.step(0, text)
            (outcome,) = session.recv()
            assert outcome.transition is not None
    broken, long, good = (command.step.text.text for command in farm.commands[-3:])
    assert broken == "fill('1', '?')" and good == "inc"
    assert long == f"A text of {2 << 20} bytes is no action: at most {1 << 20} are read."


def test_a_session_that_ended_says_why_at_every_call(fake_farm: Make) -> None:
    farm, client = fake_farm()
    with client.acquire("counter", slots=1) as lease, lease.session() as session:
        start(session)
        farm.leases.clear()
        farm.drop_after = 0
        session.step(0, "inc")
        for call in (session.recv, session.recv, session.flush, lambda: session.reset(0, task="task-0"), session.recv):
            with pytest.raises(envfarm.LeaseLost):
                call()
        session.close()
        with pytest.raises(envfarm.LeaseLost):
            session.recv()


def test_a_closed_session_attaches_no_more(fake_farm: Make) -> None:
    farm, client = fake_farm()
    with client.acquire("counter", slots=1) as lease:
        session = lease.session()
        session.reset(0, task="task-0")
        session.close()
        for call in (session.recv, session.flush, lambda: session.cancel(0), lambda: session.observe(0)):
            with pytest.raises(envfarm.FarmUnavailable, match="session is closed"):
                call()
    assert farm.attachments == 1


def test_an_interrupted_attach_is_tried_again(fake_farm: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    farm, client = fake_farm()
    with client.acquire("counter", slots=1) as lease, lease.session() as session:
        start(session)
        farm.drop_after = 0
        session.step(0, "inc")
        with monkeypatch.context() as patched:
            patched.setattr(session, "_open", interrupt)
            with pytest.raises(KeyboardInterrupt):
                session.recv()
        (outcome,) = session.recv()
        assert outcome.transition is not None and outcome.replayed


def interrupt() -> None:
    raise KeyboardInterrupt


def use(farm: envfarm.Farm, session: envfarm.Session, said: multiprocessing.SimpleQueue[str]) -> None:
    for call in (farm.status, session.recv, lambda: session.observe(0)):
        try:
            call()
            said.put("nothing")
        except envfarm.FarmUnavailable as error:
            said.put(str(error))
    session.close()
    farm.close()


def test_a_forked_process_is_told_to_connect_for_itself(fake_farm: Make) -> None:
    _, client = fake_farm()
    ended: list[str] = []
    client.on_close(lambda: ended.append("closed"))
    fork = multiprocessing.get_context("fork")
    said: multiprocessing.SimpleQueue[str] = fork.SimpleQueue()
    with client.acquire("counter", slots=1) as lease, lease.session() as session:
        child = fork.Process(target=use, args=(client, session, said))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        for _ in range(3):
            assert "opened in another process" in said.get()
        start(session)  # the child has closed nothing of this process's
    assert ended == []
