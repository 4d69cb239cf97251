"""What both scripts of this folder need: where the gateway is, how its certificate is trusted,
what operators see of it, and checks that are printed one by one."""

import argparse
import http.client
import json
import os
import ssl
import sys
import time

from aioquic.quic.configuration import QuicConfiguration

# Longest wait for something that must happen, in seconds; only a failing check waits so long.
PATIENCE = 30.0
# The name in the certificate of a gateway that runs on this machine.
SERVER_NAME = "localhost"


_started_ms = int(time.time() * 1000)


def incarnation():
    """Raised at each start, as agents do."""
    return _started_ms


def name(word):
    """Name of an agent that no other run has used."""
    return f"{word}-{_started_ms}-{os.getpid()}"


class Failed(Exception):
    """A check that does not hold."""


class Checks:
    """Prints a line for each claim that holds; the first that does not ends the script."""

    def __init__(self):
        self.passed = 0

    def that(self, claim, holds, seen=None):
        if not holds:
            raise Failed(f"{claim}: {seen!r}" if seen is not None else claim)
        self.passed += 1
        print(f"ok {self.passed} {claim}", flush=True)

    def about(self, part):
        """Says what the next claims are about."""
        print(f"== {part.__doc__.splitlines()[0]}", flush=True)

    def equal(self, claim, seen, expected):
        self.that(claim, seen == expected, f"{seen!r} is not {expected!r}")


def run(checks, script):
    """Runs a script to its end and exits with what became of it: 0 when all checks hold."""
    try:
        script()
    except Failed as failed:
        print(f"FAILED {failed}", flush=True)
        sys.exit(1)
    print(f"all {checks.passed} checks hold", flush=True)


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def arguments(description):
    """The options of both scripts."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--https",
        type=address,
        default=("127.0.0.1", 8420),
        metavar="HOST:PORT",
        help="address of agents over TCP; operators' routes are there too (127.0.0.1:8420)",
    )
    parser.add_argument(
        "--quic",
        type=address,
        metavar="HOST:PORT",
        help="address of QUIC over UDP (default: as --https)",
    )
    trust = parser.add_mutually_exclusive_group(required=True)
    trust.add_argument("--ca", metavar="FILE", help="PEM of the certificate to trust")
    trust.add_argument("--insecure", action="store_true", help="trusts any certificate")
    parser.add_argument("--token", required=True, help="a token of the gateway's credentials")
    parser.add_argument("--tenant", required=True, help="the tenant that this token belongs to")
    options = parser.parse_args()
    options.quic = options.quic or options.https
    return options


class Gateway:
    """A gateway, as its options describe it."""

    def __init__(self, options):
        self.quic = options.quic
        self.token = options.token
        self.tenant = options.tenant
        self._https = options.https
        self._ca = options.ca

    def quic_configuration(self, alpn, **settings):
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=alpn,
            server_name=SERVER_NAME,
            # The gateway's is to be the shorter one.
            idle_timeout=3600.0,
            max_datagram_frame_size=65536,
            **settings,
        )
        if self._ca is None:
            configuration.verify_mode = ssl.CERT_NONE
        else:
            configuration.load_verify_locations(cafile=self._ca)
        return configuration

    def ask(self, method, path, headers=None, body=None):
        """Asks over HTTPS on TCP: status, headers and body."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._ca is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context.load_verify_locations(self._ca)
        connection = Named(*self._https, timeout=PATIENCE, context=context)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def operate(self, method, path):
        """What an operator's route answers about our tenant; None where there is no agent."""
        status, _, body = self.ask(method, f"{path}?tenant={self.tenant}")
        if status == 404:
            return None
        if status != 200:
            raise Failed(f"{method} {path}: {status} {body!r}")
        return json.loads(body)

    def agent(self, name):
        """An agent as operators see it; None when it is not known."""
        return self.operate("GET", f"/v1/agents/{name}")

    def metric(self, sample):
        """Value of a metric with these labels."""
        _, _, body = self.ask("GET", "/metrics")
        for line in body.decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        raise Failed(f"no metric {sample}")


class Named(http.client.HTTPSConnection):
    """A connection to an address that asks for the certificate of `SERVER_NAME`."""

    def connect(self):
        http.client.HTTPConnection.connect(self)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=SERVER_NAME)
