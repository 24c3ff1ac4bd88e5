"""Audio packets of a video on the clock of its frames, to be copied without decoding."""

import math
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import av

AudioPacket: TypeAlias = "av.Packet[Any]"

_RESET_SECONDS: Final = 0.5  # seconds of a step back from which on a clock has restarted
_PRIMING: Final = 0.1  # seconds before the first frame that are kept: decoders discard some samples


class _PendingPacket(NamedTuple):
    """A packet with its times in the file."""

    packet: AudioPacket
    pts: int  # presentation time in ticks of the packet
    dts: int  # decoding time in ticks of the packet


class AudioTrack:
    """The audio stream of an opened video; packets wait here until their frames are written.

    Args:
        stream: to copy.

    Attributes:
        ended_at: seconds after which it is dropped because its clock restarts; None otherwise.
        dropped: number of packets without times, or with times that do not rise.
    """

    def __init__(self, stream: av.AudioStream) -> None:
        self.stream = stream
        self.ended_at: float | None = None
        self.dropped = 0
        self._packets: deque[_PendingPacket] = deque()
        self._offset: float | None = None  # seconds, as of `Clock`
        self._latest: int | None = None  # decoding time of the last packet

    def start(self, offset: float) -> None:
        """Set the seconds between the file's clock and that of the frames."""
        if self._offset is None:
            self._offset = offset

    def add(self, packet: AudioPacket) -> None:
        """Keep a packet unless its time does not rise; a restart of the clock ends the audio."""
        if not packet.size or self.ended_at is not None:  # the last one, which flushes a decoder
            return
        latest = -math.inf if self._latest is None else self._latest
        if packet.dts is None or packet.pts is None:
            self.dropped += 1
        elif packet.dts > latest:
            self._latest = packet.dts
            self._packets.append(_PendingPacket(packet, packet.pts, packet.dts))
        elif float((latest - packet.dts) * packet.time_base) > _RESET_SECONDS:
            self.ended_at = float(latest * packet.time_base) + (self._offset or 0.0)
        else:
            self.dropped += 1

    def until(self, time: float) -> Iterator[AudioPacket]:
        """Yield the packets that start before a time in seconds, on the frames' clock."""
        while self._packets and self._offset is not None:
            waiting = self._packets[0]
            start = float(waiting.pts * waiting.packet.time_base) + self._offset
            if start >= time:
                return
            packet = self._packets.popleft().packet
            if start >= -_PRIMING:
                shift = round(self._offset / packet.time_base)
                packet.pts, packet.dts = waiting.pts + shift, waiting.dts + shift
                yield packet
