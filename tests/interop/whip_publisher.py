"""FFmpeg as a WHIP publisher: `python -m tests.interop.whip_publisher URL CERTIFICATE KEY` sends pictures and silence
for ten seconds.

It is given a certificate (PEM files), for the one it makes by itself under GnuTLS has a key on P-224, which OpenSSL 4
takes from nobody. A program of its own, for PyAV lets no other Python run while FFmpeg shakes hands.
"""

from __future__ import annotations

import fractions
import sys
import time

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream


def publish(url: str, certificate: str, key: str) -> None:
    with av.open(url, "w", format="whip", options={"cert_file": certificate, "key_file": key}) as container:
        video = container.add_stream(
            "libx264", rate=30, options={"preset": "ultrafast", "tune": "zerolatency"}
        )
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        video.codec_context.profile = "Baseline"
        video.codec_context.gop_size = 15
        audio = container.add_stream("libopus", rate=48000, layout="stereo")
        assert isinstance(audio, AudioStream)
        for number in range(300):
            picture = av.VideoFrame(320, 240, "yuv420p")
            picture.pts, picture.time_base = number, fractions.Fraction(1, 30)
            container.mux(video.encode(picture))
            sound = av.AudioFrame("s16", "stereo", 1600)
            sound.sample_rate, sound.pts = 48000, number * 1600
            container.mux(audio.encode(sound))
            time.sleep(1 / 30)


if __name__ == "__main__":
    publish(*sys.argv[1:])
