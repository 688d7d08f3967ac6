"""A model server of one's own that fails, dawdles or dies as its environment says."""

import http.server
import json
import os
import random
import sys
import time

METADATA = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}], "outputs": []}
ERRORS, SLOW = float(os.environ.get("ERRORS", "0")), float(os.environ.get("SLOW", "0"))


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if random.random() < SLOW:
            time.sleep(0.3)
        self.answer(500 if random.random() < ERRORS else 200)

    def answer(self, status):
        body = json.dumps(METADATA).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if os.environ.get("CRASH"):
    sys.exit("no weights in the bundle")
server = http.server.ThreadingHTTPServer(("", int(os.environ["TRIMTAB_PORT"])), Answers)
server.daemon_threads = True
server.serve_forever()
