#!/usr/bin/env python3
"""A client of the compact protocol `pulsegate/1`, written from the manual's page about it
(src/manual/compact.md) alone, on a QUIC library that nobody here wrote (aioquic). It shows that
the page suffices, and that the gateway does what it says.

By hand, from the root of the repository:

    cargo run -- serve --config tests/interop/gateway.toml --set tls.development=true
    python3 -m venv target/interop
    target/interop/bin/pip install -r tests/interop/requirements.txt
    target/interop/bin/python tests/interop/compact.py --insecure \\
        --token token-of-the-interop-tenant --tenant interop

One line for each check; the first that fails ends it, with exit code 1. A gateway knows an agent
for longer than one run: each run has names of its own.
"""

import asyncio
import pathlib

import messages
from client import INCARNATION, Client, beat, hello
from connection import LOCAL, until, within
from gateway import Checks, Failed, Gateway, arguments, name, run
from messages import ACCEPTED, DUPLICATE, STALE, STATUS, delimited, encode

ALPN = "pulsegate/1"
FRAME_BYTES, HEARTBEAT_BYTES = 16_388, 16_384
PAGE = pathlib.Path(__file__).parents[2] / "src" / "manual" / "compact.md"
# Another address of this machine. Source: RFC 5735 §3; only Linux has all of 127/8 by itself.
ELSEWHERE = "127.0.0.2"

# Application codes of the page's table, and the alert no_application_protocol.
MALFORMED, TOO_LARGE, UNAUTHENTICATED = 0x5001, 0x5004, 0x5006
NO_APPLICATION_PROTOCOL = 0x178

checks = Checks()


async def connect(gateway, alpn=(ALPN,)):
    return await Client.open(gateway.quic_configuration(list(alpn)), gateway.quic)


async def introduced(gateway):
    """A connection whose client has said who it is, and the stream on which it did."""
    client = await connect(gateway)
    stream = client.stream()
    stream.send(hello(gateway.token))
    await stream.next("welcome")
    return client, stream


def directive(claim, answer, outcome=ACCEPTED):
    """Checks that an answer is a whole directive, and returns it."""
    found = answer.get("directive")
    if found is None:
        raise Failed(f"{claim}: no directive: {answer}")
    # What is stale gets the newest directive, with the number of that one.
    if outcome != STALE and found.get("number") != answer.get("sequence"):
        raise Failed(f"{claim}: another number: {answer}")
    interval, suspect, fail = (
        found.get(field, 0) for field in ("next_interval_ms", "suspect_after_ms", "fail_after_ms")
    )
    if not 0 < interval < suspect < fail:
        raise Failed(f"{claim}: times out of order: {found}")
    if found.get("retry") != [1000, 2000, 4000, 8000]:
        raise Failed(f"{claim}: not the default delays of retry: {found}")
    checks.equal(claim, found.get("outcome", ACCEPTED), outcome)
    return found


def problem(claim, answer, code):
    """Checks that an answer is a problem of this code, and returns it."""
    found = answer.get("problem", {})
    if found and found.get("kind") != f"urn:pulsegate:problem:{code}":
        raise Failed(f"{claim}: another type: {found}")
    checks.equal(claim, found.get("code", answer), code)
    return found


def the_page():
    """What the page shows byte by byte."""
    page = PAGE.read_text()

    def shown(kind):
        for block in page.split(f"```text {kind} frame\n")[1:]:
            lines = block.split("\n```")[0].splitlines()
            yield bytes.fromhex("".join(line.split("#")[0] for line in lines))

    heartbeat = {
        "agent_id": "worker-7",
        "incarnation": 1760000000000,
        "sequence": 42,
        "status": STATUS["busy"],
        "directive_seen": 41,
    }
    ours = [
        delimited(encode(messages.CLIENT_FRAME, {"heartbeat": heartbeat})),
        delimited(hello("0123456789abcdef")),
    ]
    checks.equal("the frames of the client that the page shows", list(shown("client")), ours)
    read = [messages.take_frame(bytearray(frame)) for frame in shown("server")]
    answer = {
        "agent_id": "worker-7",
        "incarnation": 1760000000000,
        "sequence": 42,
        "directive": {
            "number": 42,
            "next_interval_ms": 29713,
            "suspect_after_ms": 50000,
            "fail_after_ms": 91000,
            "retry": [1000, 2000, 4000, 8000],
        },
    }
    push = {"agent_id": "worker-7", "commands": [{"id": "c1", "kind": 2}]}
    welcome = {"frame_bytes": FRAME_BYTES, "in_flight": 64}
    expected = [{"answer": answer}, {"welcome": welcome}, {"push": push}]
    checks.equal("the frames of the gateway that the page shows", read, expected)


async def the_version(gateway):
    """Versions, and what the handshake agrees on."""
    client = await connect(gateway, ["pulsegate/9", ALPN])
    chosen = (await client.handshake()).alpn_protocol
    checks.equal("of several versions the gateway takes one that it speaks", chosen, ALPN)
    parameters = client.parameters()
    checks.equal("silence may last 420 s", parameters["max_idle_timeout"], 420_000)
    checks.equal("16 streams at once", parameters["initial_max_streams_bidi"], 16)
    checks.that("datagrams are supported", parameters["max_datagram_frame_size"] >= 1_200)
    await client.leave()
    configuration = gateway.quic_configuration(["pulsegate/9"])
    stranger = await Client.begin(configuration, gateway.quic)
    stranger.transmit()
    code = await stranger.close_code()
    checks.equal("no version in common ends the handshake", code, NO_APPLICATION_PROTOCOL)


async def the_credential(gateway):
    """Who the client is."""
    client = await connect(gateway)
    stream = client.stream()
    agent = name("credential")
    answer = await stream.beat(agent, 1)
    found = problem("without a hello nobody is heard", answer, "unauthenticated")
    checks.equal("a problem has the status of HTTP", found["status"], 401)
    stream.send(hello(gateway.token))
    welcome = await stream.next("welcome")
    checks.equal("a hello is welcome", welcome, {"frame_bytes": FRAME_BYTES, "in_flight": 64})
    directive("then the heartbeat is taken", await stream.beat(agent, 1))
    checks.that("its agent is of the token's tenant", gateway.agent(agent) is not None)
    other = client.stream()
    directive("another stream needs no hello of its own", await other.beat(agent, 2))
    client.send_datagram(beat(agent, 3))
    directive("nor does a datagram", await client.datagram("answer"))
    client.send_datagram(hello(gateway.token))
    checks.equal("a hello in a datagram too", await client.datagram("welcome"), welcome)
    await client.leave()
    client = await connect(gateway)
    client.stream().send(hello("a token that nobody was given"))
    code = await client.close_code()
    checks.equal("a token that is not known ends the connection", code, UNAUTHENTICATED)


async def a_stream(gateway):
    """Many heartbeats on a stream, without waiting for answers."""
    client = await connect(gateway)
    stream = client.stream()
    agents = [name(f"pipelined-{number}") for number in range(30)]
    # All of it at once, a hello and more heartbeats than may be unanswered.
    frames = [beat(agent, sequence) for sequence in range(1, 6) for agent in agents]
    stream.send(hello(gateway.token), *frames)
    await stream.next("welcome")
    seen = {agent: [] for agent in agents}
    for _ in frames:
        answer = await stream.next("answer")
        if "directive" not in answer or answer["incarnation"] != INCARNATION:
            raise Failed(f"a pipelined heartbeat: {answer}")
        seen[answer["agent_id"]].append(answer["directive"]["number"])
    ordered = all(numbers == [1, 2, 3, 4, 5] for numbers in seen.values())
    checks.that("pipelined heartbeats are answered, each agent's in order", ordered, seen)
    cut = delimited(beat(agents[0], 6))
    for index in range(len(cut)):
        stream.write(cut[index : index + 1])
        await asyncio.sleep(0)
    directive("a frame may be cut anywhere", await stream.next("answer"))
    unknown = messages.varint(15 << 3 | 2) + messages.varint(2) + b"\x08\x01"
    stream.send(unknown)
    known = beat(agents[0], 7, metrics={"queue_depth": 3, "cpu_percent": 12.5})
    stream.send(known + unknown)
    directive("kinds of frames and fields that are not known", await stream.next("answer"))
    client.request_key_update()
    stream.write(delimited(beat(agents[0], 8)), end=True)
    answer = await stream.next("answer")
    directive("the last one before the end of a stream is answered, under new keys", answer)
    await stream.next(None)
    checks.that("then the gateway ends its side", True)
    await client.leave()


async def repetition(gateway):
    """A heartbeat that comes twice, or late."""
    client, stream = await introduced(gateway)
    agent = name("repeated")
    report = {"status": STATUS["busy"], "metrics": {"custom": [{"key": "rate", "value": 1.5}]}}
    first = directive("a heartbeat", await stream.beat(agent, 5, **report))
    again = await stream.beat(agent, 5, **report)
    second = directive("the same once more is a duplicate", again, DUPLICATE)
    second.pop("outcome")
    checks.equal("with the same directive", second, first)
    shown = gateway.agent(agent)
    checks.equal("what it reports arrives", shown["status"], "busy")
    old = await stream.beat(agent, 4)
    newest = directive("an older sequence is stale", old, STALE)
    checks.equal("and gets the newest directive again", newest, {**first, "outcome": STALE})
    older = {"agent_id": agent, "incarnation": INCARNATION - 1, "sequence": 6}
    stream.send(encode(messages.CLIENT_FRAME, {"heartbeat": older}))
    answer = await stream.next("answer")
    problem("an older incarnation is refused", answer, "incarnation_stale")
    seen = (answer["agent_id"], answer["incarnation"], answer["sequence"])
    checks.equal("an answer says what it answers", seen, (agent, INCARNATION - 1, 6))
    plain = {"agent_id": agent}
    stream.send(encode(messages.CLIENT_FRAME, {"heartbeat": plain}))
    answer = await stream.next("answer")
    checks.equal("zeros come back as they were", {"sequence", "incarnation"} & answer.keys(), set())
    checks.equal("and the directive says the number", answer["directive"]["number"], 6)
    await client.leave()


async def refusals(gateway):
    """Heartbeats that are refused."""
    client, stream = await introduced(gateway)
    found = problem("a name that is none", await stream.beat("a/b", 1), "field_invalid")
    checks.equal("the problem names the field", found["field"], "agent_id")
    answer = await stream.beat(name("schema"), 1, schema=2)
    problem("a schema that is not known", answer, "schema_unsupported")
    agent = name("hasty")
    stream.send(*(beat(agent, sequence) for sequence in range(1, 31)))
    answers = [await stream.next("answer") for _ in range(30)]
    refused = [answer["problem"] for answer in answers if "problem" in answer]
    checks.that("a quota holds", refused and "directive" in answers[0], answers)
    checks.equal("and says so", {found["code"] for found in refused}, {"rate_limited"})
    later = all(found.get("retry_after_ms", 0) > 0 for found in refused)
    checks.that("and when to try again", later, refused)
    await client.leave()


async def datagrams(gateway):
    """Heartbeats in datagrams."""
    client, stream = await introduced(gateway)
    agent = name("datagram")
    frame = beat(agent, 1)
    client.send_datagram(frame)
    first = directive("a heartbeat in a datagram", await client.datagram("answer"))
    client.send_datagram(frame)
    again = directive("once more", await client.datagram("answer"), DUPLICATE)
    again.pop("outcome")
    checks.equal("the same directive", again, first)
    client.send_datagram(b"\x0a\x7f", beat(agent, 2))
    answer = await client.datagram("answer")
    directive("a datagram that is no frame is dropped", answer)
    directive("streams and datagrams go together", await stream.beat(agent, 3))
    counted = gateway.metric(
        'pulsegate_heartbeats_total{transport="quic_datagram",outcome="duplicate"}'
    )
    checks.that("operators see which way they came", counted >= 1, counted)
    await client.leave()


async def a_push(gateway):
    """A push of a command, which recovery queues when an operator ends the pause of an agent."""
    client, stream = await introduced(gateway)
    well, ill = {"metrics": {"error_count": 0}}, {"metrics": {"error_count": 100}}

    async def over_stream(*args, **more):
        return await stream.beat(*args, **more)

    async def over_datagram(*args, **more):
        client.send_datagram(beat(*args, **more))
        return await client.datagram("answer")

    ways = [("stream", over_stream, stream.next), ("datagram", over_datagram, client.datagram)]
    for way, send, receive in ways:
        agent = name(f"pushed-by-{way}")
        await send(agent, 1, **well)
        gateway.operate("POST", f"/v1/agents/{agent}/pause")
        for sequence in range(2, 5):
            answer = await send(agent, sequence, **ill)
            if answer["directive"].get("commands"):
                raise Failed(f"a paused agent gets commands: {answer}")
        health = gateway.agent(agent)["health"]
        if health != "unhealthy":
            raise Failed(f"an agent with errors is {health}")
        gateway.operate("POST", f"/v1/agents/{agent}/resume")
        push = await receive("push")
        (command,) = push["commands"]
        whole = push == {"agent_id": agent, "commands": [{"id": command["id"]}]}
        checks.that(f"a command comes by {way} at once", whole and command["id"], push)
        answer = await send(agent, 5, **ill)
        repeated = answer["directive"].get("commands")
        checks.equal("it is in the next directive too", repeated, [command])
        answer = await send(agent, 6, command_acks=[{"id": command["id"]}], **ill)
        gone = answer["directive"].get("commands", [])
        checks.equal("until it is acknowledged", gone, [])
    await client.leave()


async def a_call(gateway):
    """A push that calls an agent to beat."""
    client, stream = await introduced(gateway)
    agent = name("called")
    extra = {"class": "quick"}
    directive("an agent that is then silent", await stream.beat(agent, 1, **extra))
    push = await stream.next("push")
    checks.equal("is called to beat", push, {"agent_id": agent, "beat_now": True})
    reason = 2  # early
    directive("and does", await stream.beat(agent, 2, reason=reason))
    checks.equal("it is alive", gateway.agent(agent)["state"], "alive")
    await client.leave()


async def what_is_no_frame(gateway):
    """What ends a connection, and what does not."""
    bystander, other = await introduced(gateway)
    too_large = messages.varint(FRAME_BYTES + 1)
    for claim, data, code in [
        ("a frame that is no protobuf closes the connection", b"\x02\x0a\x7f", MALFORMED),
        ("so does a length that is no varint", b"\x80" * 11, MALFORMED),
        ("and one over the limit", too_large, TOO_LARGE),
    ]:
        client, stream = await introduced(gateway)
        stream.write(data)
        checks.equal(claim, await client.close_code(), code)
    # A field that nobody knows fills it up.
    small = {"agent_id": name("largest"), "incarnation": 1, "sequence": 1}
    heartbeat = encode(messages.HEARTBEAT, small) + messages.varint(900 << 3 | 2)
    filler = HEARTBEAT_BYTES - len(heartbeat) - 2
    heartbeat += messages.varint(filler) + bytes(filler)
    frame = messages.varint(2 << 3 | 2) + messages.varint(len(heartbeat)) + heartbeat
    checks.equal("a frame as large as may be", len(frame), FRAME_BYTES)
    other.send(frame)
    directive("is taken, and nobody else is closed", await other.next("answer"))
    bystander.write_unidirectional(b"x")
    code = await within("the refusal of a unidirectional stream", bystander.stopped)
    checks.equal("unidirectional streams have no use", code, MALFORMED)
    directive("which harms nobody", await other.beat(name("unharmed"), 1))
    await bystander.leave()


async def migration(gateway):
    """A change of address."""
    client, stream = await introduced(gateway)
    agent = name("roaming")
    directive("an agent at one address", await stream.beat(agent, 1))
    checks.equal("where it is seen", gateway.agent(agent)["peer"], LOCAL)
    # Mid-flight: their answers go to an address where nobody is any more.
    stream.send(beat(agent, 2), beat(agent, 3))
    client.change_connection_id()
    await client.move(ELSEWHERE)
    stream.send(beat(agent, 4))
    numbers = [(await stream.next("answer"))["directive"]["number"] for _ in range(3)]
    checks.equal("answers follow it to another one", numbers, [2, 3, 4])
    directive("on the same connection", await stream.beat(agent, 5))
    checks.equal("where it is seen from then on", gateway.agent(agent)["peer"], ELSEWHERE)
    # A NAT gives it another port: the client does not even know.
    await client.move(ELSEWHERE)
    directive("and on through a NAT that forgets", await stream.beat(agent, 6))
    client.send_datagram(beat(agent, 7))
    directive("datagrams as well", await client.datagram("answer"))
    await client.leave()


async def early_data(gateway):
    """Early data (0-RTT), while the handshake cannot have completed, and a ticket used twice."""
    client, stream = await introduced(gateway)
    agent, newcomer = name("early"), name("newcomer")
    directive("an agent that beats", await stream.beat(agent, 1))
    ticket = await client.ticket()
    await client.leave()
    counter = 'pulsegate_problems_total{code="too_early"}'
    before = gateway.metric(counter)

    configuration = gateway.quic_configuration([ALPN], session_ticket=ticket)
    # Nothing that comes back is read: the handshake cannot complete.
    client = await Client.begin(configuration, gateway.quic, hold=True)
    stream = client.stream()
    refused = [
        ("a first heartbeat", beat(newcomer, 1)),
        ("a new incarnation", later_incarnation(agent)),
        ("a sequence that was seen", beat(agent, 1)),
        ("a registration", beat(agent, 9, labels=[{"key": "zone", "value": "a"}])),
        ("leaving", beat(agent, 9, status=STATUS["stopping"])),
        ("an acknowledgement", beat(agent, 9, command_acks=[{"id": "c1"}])),
    ]
    stream.send(hello(gateway.token), *(frame for _, frame in refused), beat(agent, 2))
    await until("a renewal in early data", lambda: gateway.agent(agent)["sequence"] == 2)
    client.send_datagram(beat(agent, 3))
    await until("a renewal in an early datagram", lambda: gateway.agent(agent)["sequence"] == 3)
    checks.that("early data renews before the handshake is complete", not client.completed.done())
    checks.that("and registers nobody", gateway.agent(newcomer) is None)
    counted = gateway.metric(counter) - before
    checks.equal("what may not be early is counted", counted, len(refused))
    client.release()
    done = await client.handshake()
    accepted = (done.session_resumed, done.early_data_accepted)
    checks.equal("the session is resumed, its early data taken", accepted, (True, True))
    await stream.next("welcome")
    for claim, _ in refused:
        problem(f"too early for {claim}", await stream.next("answer"), "too_early")
    directive("not for a renewal", await stream.next("answer"))
    directive("nor for one in a datagram", await client.datagram("answer"))
    directive("after the handshake on the same stream", await stream.beat(newcomer, 1))
    await client.leave()

    client = await Client.begin(configuration, gateway.quic)
    stream = client.stream()
    stream.send(hello(gateway.token), beat(agent, 4))
    done = await client.handshake()
    checks.equal("a ticket is good for one handshake", done.early_data_accepted, False)
    await stream.next("welcome")
    directive("and what was early is sent again", await stream.next("answer"))
    await client.leave()


async def a_flood(gateway):
    """Handshakes that do not complete, so that the gateway asks clients for a proof (Retry)."""
    configuration = gateway.quic_configuration([ALPN])
    flood = [await Client.begin(configuration, gateway.quic, hold=True) for _ in range(80)]
    for client in flood:
        client.transmit()
    counter = 'pulsegate_quic_handshakes_total{result="retried"}'
    await until("a Retry", lambda: gateway.metric(counter) > 0)
    client, stream = await introduced(gateway)
    checks.that("a client that can be reached is asked as well", client.was_retried())
    directive("and served", await stream.beat(name("proven"), 1))
    await client.leave()
    for client in flood:
        client.abandon()


def later_incarnation(agent):
    heartbeat = {"agent_id": agent, "incarnation": INCARNATION + 1, "sequence": 1}
    return encode(messages.CLIENT_FRAME, {"heartbeat": heartbeat})


def script():
    gateway = Gateway(arguments(__doc__))
    checks.about(the_page)
    the_page()
    for part in [
        the_version,
        the_credential,
        a_stream,
        repetition,
        refusals,
        datagrams,
        a_push,
        a_call,
        what_is_no_frame,
        migration,
        early_data,
        a_flood,
    ]:
        checks.about(part)
        asyncio.run(part(gateway))


if __name__ == "__main__":
    run(checks, script)
