#!/bin/sh
# The media of one call, sent by ffmpeg: legs.sh SECONDS CODEC PT PORT1 PORT2 …
# The caller is 440 Hz, our side 1000 Hz, both with a peak of -18 dBFS.
exec ffmpeg -nostdin -loglevel error \
  -re -f lavfi -i "sine=frequency=440:sample_rate=8000:duration=$1" \
  -re -f lavfi -i "sine=frequency=1000:sample_rate=8000:duration=$1" \
  -map 0:a -c:a "$2" -ac 1 -payload_type "$3" -f rtp "rtp://127.0.0.1:$4?pkt_size=172" \
  -map 1:a -c:a "$2" -ac 1 -payload_type "$3" -f rtp "rtp://127.0.0.1:$5?pkt_size=172" \
  >/dev/null 2>&1
