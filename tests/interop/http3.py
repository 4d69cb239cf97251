#!/usr/bin/env python3
"""A client of HTTP/3 that nobody here wrote (aioquic) beats to a gateway, and gets what it gets
over HTTPS on TCP (Python's own http.client).

By hand, from the root of the repository:

    cargo run -- serve --config tests/interop/gateway.toml --set tls.development=true
    python3 -m venv target/interop
    target/interop/bin/pip install -r tests/interop/requirements.txt
    target/interop/bin/python tests/interop/http3.py --insecure \\
        --token token-of-the-interop-tenant --tenant interop

One line for each check; the first that fails ends it, with exit code 1. A gateway knows an agent
for longer than one run: each run has names of its own.
"""

import asyncio
import json
import re

from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived

import messages
from connection import Connection, until, within
from gateway import SERVER_NAME, Checks, Failed, Gateway, arguments, incarnation, name, run

JSON, PROTOBUF = "application/json", "application/x-protobuf"
PROBLEM = "application/problem+json"

checks = Checks()


class Request:
    """A request under way, and what has come back so far."""

    def __init__(self):
        self.headers = {}
        self.body = b""
        self.whole = asyncio.get_running_loop().create_future()

    @property
    def status(self):
        return int(self.headers[":status"])

    @property
    def media_type(self):
        return self.headers.get("content-type")

    def json(self):
        return json.loads(self.body)


class Http3(Connection):
    """A connection of HTTP/3."""

    def __init__(self, *args):
        super().__init__(*args)
        self._http = None
        self._requests = {}

    def begin_request(self, method, path, headers=None, body=None):
        # Not before the version of QUIC is known: the first request may be early data.
        if self._http is None:
            self._http = H3Connection(self._quic)
        number = self._quic.get_next_available_stream_id()
        request = self._requests[number] = Request()
        names = {
            ":method": method,
            ":scheme": "https",
            ":authority": SERVER_NAME,
            ":path": path,
            **(headers or {}),
        }
        pairs = [(key.encode(), value.encode()) for key, value in names.items()]
        self._http.send_headers(number, pairs, end_stream=body is None)
        if body is not None:
            self._http.send_data(number, body, end_stream=True)
        self.transmit()
        return request

    async def ask(self, *args):
        """Asks, and waits for the whole answer."""
        request = self.begin_request(*args)
        await within(f"the answer to {args[:2]}", request.whole)
        return request

    def handle_event(self, event):
        for told in self._http.handle_event(event) if self._http else []:
            request = self._requests.get(told.stream_id)
            if isinstance(told, HeadersReceived):
                request.headers = {key.decode(): value.decode() for key, value in told.headers}
            elif isinstance(told, DataReceived):
                request.body += told.data
            else:
                continue
            if told.stream_ended:
                request.whole.set_result(None)


class Agent:
    """Heartbeats of one agent, in the forms that HTTP takes."""

    def __init__(self, gateway, word):
        self.name = name(word)
        self._credential = {"authorization": f"Bearer {gateway.token}"}

    def heartbeat(self, sequence, **more):
        count = {"agent_id": self.name, "incarnation": incarnation(), "sequence": sequence}
        return {**count, **more}

    def json(self, sequence, **more):
        """What a request with a heartbeat in JSON is made of."""
        body = json.dumps(self.heartbeat(sequence, **more)).encode()
        return "POST", "/v1/heartbeats", {"content-type": JSON, **self._credential}, body

    def protobuf(self, sequence, **more):
        """The same in protobuf."""
        body = messages.encode(messages.HEARTBEAT, self.heartbeat(sequence, **more))
        return "POST", "/v1/heartbeats", {"content-type": PROTOBUF, **self._credential}, body


def connect(gateway):
    return Http3.open(gateway.quic_configuration(H3_ALPN), gateway.quic)


def directive(claim, answer, number, outcome="accepted"):
    """Checks that an answer is a whole directive in JSON, and returns it."""
    checks.equal(claim, (answer.status, answer.media_type), (200, JSON))
    found = answer.json()
    if (found["number"], found["outcome"]) != (number, outcome):
        raise Failed(f"{claim}: {found}")
    times = [found[key] for key in ("next_interval_ms", "suspect_after_ms", "fail_after_ms")]
    if not 0 < times[0] < times[1] < times[2] or not found["retry"]:
        raise Failed(f"{claim}: not a whole directive: {found}")
    if not all(found["explain"][key] for key in ("reason", "bound", "policy", "policy_revision")):
        raise Failed(f"{claim}: it does not explain itself: {found}")
    return found


def problem(claim, answer, status, code):
    """Checks that an answer is a problem document, and returns it."""
    seen = (answer.status, answer.media_type, answer.body and answer.json().get("code"))
    checks.equal(claim, seen, (status, PROBLEM, code))
    document = answer.json()
    if document["type"] != f"urn:pulsegate:problem:{code}" or document["status"] != status:
        raise Failed(f"{claim}: {document}")
    return document


async def heartbeats(gateway):
    """Heartbeats, in every form."""
    client = await connect(gateway)
    chosen = (await client.handshake()).alpn_protocol
    checks.equal("HTTP/3 is spoken", chosen, "h3")
    answer = await client.ask("GET", "/healthz")
    checks.equal("the process turns", answer.status, 200)
    agent = Agent(gateway, "http3")
    answer = await client.ask(*agent.json(1, status="busy", metrics={"queue_depth": 4}))
    first = directive("a heartbeat in JSON", answer, 1)
    checks.equal("what it reports arrives", gateway.agent(agent.name)["status"], "busy")
    answer = await client.ask(*agent.json(1, status="busy", metrics={"queue_depth": 4}))
    second = directive("the same once more is a duplicate", answer, 1, "duplicate")
    checks.equal("with the same directive", {**second, "outcome": first["outcome"]}, first)
    status, headers, body = gateway.ask(*agent.json(1, status="busy", metrics={"queue_depth": 4}))
    checks.equal("over TCP too", (status, json.loads(body)), (200, second))
    answer = await client.ask(*agent.protobuf(2, metrics={"cpu_percent": 12.5}))
    checks.equal("a heartbeat in protobuf", (answer.status, answer.media_type), (200, PROTOBUF))
    found = messages.decode(messages.DIRECTIVE, answer.body)
    checks.equal("is answered in protobuf", (found["number"], found.get("outcome", 0)), (2, 0))
    answer = await client.ask(*agent.json(2))
    third = directive("and is the same to JSON", answer, 2, "duplicate")
    same = ("next_interval_ms", "suspect_after_ms", "fail_after_ms", "retry", "explain")
    checks.equal("field by field", [found[key] for key in same], [third[key] for key in same])
    agents = [Agent(gateway, f"many-{number}") for number in range(40)]
    # More than may be under way at once: the rest waits for streams to be free.
    requests = [client.begin_request(*agent.json(1)) for agent in agents]
    await within("all answers", asyncio.gather(*(request.whole for request in requests)))
    statuses = {request.status for request in requests}
    checks.equal("many requests at once are all answered", statuses, {200})
    _, path, headers, _ = agents[0].json(2)
    both = json.dumps({"heartbeats": [agent.heartbeat(2) for agent in agents]}).encode()
    answer = await client.ask("POST", f"{path}/batch", headers, both)
    numbers = [result["directive"]["number"] for result in answer.json()["results"]]
    checks.equal("so are many heartbeats in one", (answer.status, numbers), (200, [2] * 40))
    counted = gateway.metric('pulsegate_heartbeats_total{transport="http3",outcome="duplicate"}')
    checks.that("operators see which way they came", counted >= 1, counted)
    await client.leave()


async def errors(gateway):
    """Errors, each a problem document."""
    client = await connect(gateway)
    agent = Agent(gateway, "wrong")
    method, path, headers, body = agent.json(1)
    answer = await client.ask("GET", "/v1/nothing-here")
    problem("a path that is none", answer, 404, "not_found")
    answer = await client.ask("GET", path)
    problem("a method that is none", answer, 405, "method_not_allowed")
    answer = await client.ask(method, path, {"content-type": JSON}, body)
    problem("no credential", answer, 401, "unauthenticated")
    answer = await client.ask(method, path, {**headers, "content-type": "text/plain"}, body)
    problem("a content type that is none", answer, 415, "media_type")
    answer = await client.ask(method, path, headers, b"{")
    problem("a body that is no JSON", answer, 400, "malformed")
    answer = await client.ask(method, path, headers, b'{"agent_id": "a/b"}')
    document = problem("a name that is none", answer, 422, "field_invalid")
    checks.equal("the problem names the field", document["field"], "agent_id")
    answer = await client.ask(method, path, headers, b" " * 16_385)
    problem("a body over the limit", answer, 413, "too_large")
    directive("the connection stands", await client.ask(method, path, headers, body), 1)
    requests = [client.begin_request(*agent.json(sequence)) for sequence in range(2, 32)]
    await within("all answers", asyncio.gather(*(request.whole for request in requests)))
    refused = [request for request in requests if request.status != 200]
    checks.that("a quota holds", 0 < len(refused) < 30, len(refused))
    document = problem("and says so", refused[0], 429, "rate_limited")
    seconds = int(refused[0].headers["retry-after"])
    exact = 0 < document["retry_after_ms"] <= seconds * 1000
    checks.that("and when to try again", exact, (document, seconds))
    await client.leave()


async def discovery(gateway):
    """How a client of HTTPS on TCP finds out about HTTP/3."""
    status, headers, _ = gateway.ask("GET", "/healthz")
    checks.equal("over HTTPS on TCP", status, 200)
    told = re.fullmatch(r'h3=":(\d+)"; *ma=(\d+)', headers["alt-svc"] or "")
    checks.that("the gateway says where HTTP/3 is", told, headers["alt-svc"])
    checks.equal("and it is there", int(told[1]), gateway.quic[1])
    checks.that("for a while", int(told[2]) > 0)


async def early_data(gateway):
    """Requests in early data (0-RTT), while the handshake cannot have completed."""
    client = await connect(gateway)
    agent, newcomer = Agent(gateway, "early"), Agent(gateway, "newcomer")
    directive("an agent that beats", await client.ask(*agent.json(1)), 1)
    ticket = await client.ticket()
    await client.leave()
    configuration = gateway.quic_configuration(H3_ALPN, session_ticket=ticket)
    # Nothing that comes back is read: the handshake cannot complete.
    client = await Http3.begin(configuration, gateway.quic, hold=True)
    renewal = client.begin_request(*agent.json(2))
    registration = client.begin_request(*newcomer.json(1))
    operator = client.begin_request("GET", f"/v1/agents?tenant={gateway.tenant}")
    await until("a renewal in early data", lambda: gateway.agent(agent.name)["sequence"] == 2)
    checks.that("early data renews before the handshake is complete", not client.completed.done())
    client.release()
    done = await client.handshake()
    accepted = (done.session_resumed, done.early_data_accepted)
    checks.equal("the session is resumed, its early data taken", accepted, (True, True))
    early = (renewal, registration, operator)
    await within("all answers", asyncio.gather(*(request.whole for request in early)))
    directive("a renewal may be early", renewal, 2)
    problem("a registration may not", registration, 425, "too_early")
    problem("nor what operators ask", operator, 425, "too_early")
    checks.that("nobody was registered", gateway.agent(newcomer.name) is None)
    directive("after the handshake it is taken", await client.ask(*newcomer.json(1)), 1)
    await client.leave()


def script():
    gateway = Gateway(arguments(__doc__))
    for part in (heartbeats, errors, discovery, early_data):
        checks.about(part)
        asyncio.run(part(gateway))


if __name__ == "__main__":
    run(checks, script)
