"""Whether a video is all there: what TikTok would find out after the upload."""

from pathlib import Path

from scheduler.probe.opened import open_video


def is_whole(path: Path) -> bool:
    """Read every packet of the video and tell whether the file holds what its index says; raises what PyAV raises.

    False, too, for a file without video.
    """
    # An edit list (what a lossless cut leaves) shows fewer pictures than the index counts.
    with open_video(path, ignore_editlist="1") as container:
        if not container.streams.video:
            return False
        stream = container.streams.video[0]
        packets, last = 0, 0.0
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if packet.is_corrupt:
                return False
            packets += 1
            if packet.pts is not None:
                last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        shown = (container.duration or 0) / 1_000_000
        return packets > 0 and packets >= stream.frames and last >= shown * 0.9 - 1.0
