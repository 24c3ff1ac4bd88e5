"""Audio packets of a video, copied without decoding and synchronized with the frames."""

import math
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import av

AudioPacket: TypeAlias = "av.Packet[Any]"

_RESET_SECONDS: Final = 0.5  # a larger step back means that the clock restarted
_PRIMING: Final = 0.1  # seconds of audio kept before the first frame; decoders discard some samples


class _PendingPacket(NamedTuple):
    """Packet with its original times."""

    packet: AudioPacket
    pts: int  # presentation time in ticks of the packet
    dts: int  # decoding time in ticks of the packet


class AudioTrack:
    """Audio stream of an open video that buffers packets until their frames are written.

    Args:
        stream: stream to copy.

    Attributes:
        ended_at: time in seconds at which the audio ends because its clock restarts; None
            otherwise.
        dropped: number of packets without times or with non-increasing times.
    """

    def __init__(self, stream: av.AudioStream) -> None:
        self.stream = stream
        self.ended_at: float | None = None
        self.dropped = 0
        self._packets: deque[_PendingPacket] = deque()
        self._offset: float | None = None  # seconds, `PresentationClock.offset`
        self._latest: int | None = None  # decoding time of the last packet

    def start(self, offset: float) -> None:
        """Set the offset in seconds from times in the file to times of frames, once."""
        if self._offset is None:
            self._offset = offset

    def add(self, packet: AudioPacket) -> None:
        """Buffer a packet if its time increases; a restart of the clock ends the audio."""
        if not packet.size or self.ended_at is not None:  # the last packet, for flushing, is empty
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
        """Yield the packets that start before a time in seconds after the first frame."""
        while self._packets and self._offset is not None:
            packet, pts, dts = self._packets[0]
            start = float(pts * packet.time_base) + self._offset
            if start >= time:
                return
            self._packets.popleft()
            if start >= -_PRIMING:
                shift = round(self._offset / packet.time_base)
                packet.pts, packet.dts = pts + shift, dts + shift
                yield packet
