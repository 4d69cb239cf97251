"""The client of the compact protocol: frames, streams and datagrams on a connection of aioquic's,
as the manual's page says (src/manual/compact.md)."""

import asyncio

from aioquic.quic import events

import messages
from connection import Connection, within
from gateway import Failed, incarnation
from messages import delimited, encode

INCARNATION = incarnation()


def beat(agent, sequence, **more):
    """A frame with a heartbeat."""
    heartbeat = {"agent_id": agent, "incarnation": INCARNATION, "sequence": sequence, **more}
    return encode(messages.CLIENT_FRAME, {"heartbeat": heartbeat})


def hello(token):
    return encode(messages.CLIENT_FRAME, {"hello": {"token": token}})


class Stream:
    """A bidirectional stream."""

    def __init__(self, client, number):
        self._client = client
        self._number = number
        self._bytes = bytearray()
        self._frames = asyncio.Queue()

    def send(self, *frames):
        """Sends frames, all of them in one go."""
        self.write(b"".join(delimited(frame) for frame in frames))

    def write(self, data, end=False):
        self._client._quic.send_stream_data(self._number, data, end_stream=end)
        self._client.transmit()

    def read(self, data, ends):
        self._bytes += data
        while (frame := messages.take_frame(self._bytes)) is not None:
            self._frames.put_nowait(frame)
        if ends:
            self._frames.put_nowait(None)

    async def next(self, kind):
        """The next frame, which must be of this kind; None is the end of the stream."""
        frame = await within(f"{kind} on the stream", self._frames.get())
        if frame is None and self._client.ended.done():
            raise Failed(f"no {kind}, the connection ended: {self._client.ended.result()}")
        return only(kind, frame)

    async def beat(self, *args, **more):
        self.send(beat(*args, **more))
        return await self.next("answer")


def only(kind, frame):
    if kind is None and frame is None:
        return None
    if frame is None or list(frame) != [kind]:
        raise Failed(f"no {kind}: {frame}")
    return frame[kind]


class Client(Connection):
    """A connection of the compact protocol."""

    def __init__(self, *args):
        super().__init__(*args)
        self._streams = {}
        self._datagrams = asyncio.Queue()
        self.stopped = asyncio.get_running_loop().create_future()

    def stream(self):
        number = self._quic.get_next_available_stream_id()
        stream = self._streams[number] = Stream(self, number)
        # A stream that has sent nothing has not taken its number yet.
        stream.write(b"")
        return stream

    def send_datagram(self, *frames):
        for frame in frames:
            self._quic.send_datagram_frame(frame)
        self.transmit()

    async def datagram(self, kind):
        return only(kind, await within(f"{kind} in a datagram", self._datagrams.get()))

    def write_unidirectional(self, data):
        number = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self._quic.send_stream_data(number, data)
        self.transmit()

    def handle_event(self, event):
        if isinstance(event, events.StreamDataReceived):
            self._streams[event.stream_id].read(event.data, event.end_stream)
        elif isinstance(event, events.DatagramFrameReceived):
            self._datagrams.put_nowait(messages.decode(messages.SERVER_FRAME, event.data))
        elif isinstance(event, events.StopSendingReceived):
            self.stopped.set_result(event.error_code)
        elif isinstance(event, events.ConnectionTerminated):
            for stream in self._streams.values():
                stream.read(b"", ends=True)
