"""A page for the phones in the room: one server with its token and limits, onnxruntime-web, the link and its code.

What both the latency page (`lowzoo.bench.browser`) and the page that is taught (`lowzoo.demo`) stand on.
"""
