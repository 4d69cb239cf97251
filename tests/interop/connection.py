"""A QUIC connection of aioquic's that can be looked into, held up and moved."""

import asyncio

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.connection import QuicConnection
from aioquic.quic.logger import QuicLogger

from gateway import PATIENCE, Failed

# Where connections come from; the gateway is on this machine.
LOCAL = "127.0.0.1"


async def within(what, awaitable):
    """Waits for what must happen."""
    try:
        return await asyncio.wait_for(awaitable, PATIENCE)
    except TimeoutError:
        raise Failed(f"never: {what}") from None


async def until(what, look):
    """Asks an operator's route, which blocks, until it says what must come."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        found = await asyncio.to_thread(look)
        if found:
            return found
        if loop.time() - begun > PATIENCE:
            raise Failed(f"never: {what}")
        await asyncio.sleep(0.02)


class Connection(QuicConnectionProtocol):
    """One connection to the gateway. `handle_event` is for those who know its protocol."""

    def __init__(self, quic, tickets, log):
        super().__init__(quic)
        loop = asyncio.get_running_loop()
        self.completed = loop.create_future()
        self.ended = loop.create_future()
        self._tickets = tickets
        self._log = log
        self._held = None

    @classmethod
    async def begin(cls, configuration, address, hold=False):
        """A connection whose first packets are not sent yet: what is sent now, with a ticket in
        the configuration, goes as early data. `hold`: nothing that comes back is read, so that
        the handshake cannot complete, until `release`."""
        tickets = asyncio.Queue()
        configuration.quic_logger = log = QuicLogger()
        quic = QuicConnection(
            configuration=configuration, session_ticket_handler=tickets.put_nowait
        )
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_datagram_endpoint(
            lambda: cls(quic, tickets, log), local_addr=(LOCAL, 0)
        )
        connection._held = [] if hold else None
        connection.connect(address, transmit=False)
        return connection

    @classmethod
    async def open(cls, configuration, address):
        """A connection whose handshake is complete."""
        connection = await cls.begin(configuration, address)
        connection.transmit()
        await connection.handshake()
        return connection

    async def handshake(self):
        """Waits for the handshake to complete, and returns what came of it."""
        waits = {self.completed, self.ended}
        await within("the end of the handshake", asyncio.wait(waits, return_when="FIRST_COMPLETED"))
        if not self.completed.done():
            raise Failed(f"the connection ended in its handshake: {self.ended.result()}")
        return self.completed.result()

    async def ticket(self):
        """The ticket to come back with."""
        return await within("a session ticket", self._tickets.get())

    async def close_code(self):
        """The code that the gateway closes with; it is an application's, or in a handshake."""
        return (await within("the end of the connection", self.ended)).error_code

    async def leave(self):
        """Ends the connection, which needs nobody's consent."""
        self.close()
        await within("the end of the connection", self.wait_closed())
        self._transport.close()

    def abandon(self):
        """Forgets a connection without a word to the gateway."""
        self._quic.close()
        self._transport.close()

    async def move(self, local):
        """Goes on from another address, without a word to the gateway, as after a change of
        network; what is on its way to the old address is lost."""
        old = self._transport
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(local, 0))
        assert self._transport is not old
        old.close()

    def release(self):
        """Reads what was held, and everything that comes from now on."""
        held, self._held = self._held, None
        for data, sender in held:
            super().datagram_received(data, sender)

    def parameters(self):
        """The transport parameters that the gateway announced."""
        return next(data for data in self._logged() if data.get("owner") == "remote")

    def was_retried(self):
        """Whether the gateway asked for a proof of the client's address."""
        types = [data.get("header", {}).get("packet_type") for data in self._logged()]
        return "retry" in types

    def _logged(self):
        traces = self._log.to_dict()["traces"]
        return [event["data"] for trace in traces for event in trace["events"]]

    def datagram_received(self, data, addr):
        if self._held is None:
            super().datagram_received(data, addr)
        else:
            self._held.append((data, addr))

    def quic_event_received(self, event):
        if isinstance(event, events.HandshakeCompleted):
            self.completed.set_result(event)
        elif isinstance(event, events.ConnectionTerminated):
            self.ended.set_result(event)
        self.handle_event(event)

    def handle_event(self, event):
        """What the protocol on top makes of an event."""
