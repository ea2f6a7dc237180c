"""Transport at hio's paths: memos, and the Unix datagram sockets that carry them."""
