"""The smallest server of the Open Inference Protocol there can be: it multiplies what it is given by FACTOR.

It can be given faults: every ERR_EVERY-th answer is a 500, each answer takes DELAY_SECONDS longer, and with the
DIE_AFTER-th question the process ends.
"""

import itertools
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, FACTOR = os.environ["TRIMTAB_MODEL_NAME"], float(os.environ["FACTOR"])
ERR_EVERY, DIE_AFTER = (int(os.environ.get(name, "0")) for name in ("ERR_EVERY", "DIE_AFTER"))
DELAY_SECONDS = float(os.environ.get("DELAY_SECONDS", "0"))
COUNTER = itertools.count(1)


class Multiplying(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def reply(self, answer, code=200):
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.reply({"name": NAME, "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 1]}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["inputs"][0]
        number = next(COUNTER)
        time.sleep(DELAY_SECONDS)
        if DIE_AFTER and number >= DIE_AFTER:
            os._exit(1)
        if ERR_EVERY and number % ERR_EVERY == 0:
            self.reply({"error": "the fault that was asked for"}, 500)
            return
        rows = asked["data"] if isinstance(asked["data"][0], list) else [[x] for x in asked["data"]]
        output = {**asked, "name": "product", "data": [[FACTOR * x for x in row] for row in rows]}
        self.reply({"model_name": NAME, "outputs": [output]})


class Server(ThreadingHTTPServer):
    request_queue_size = 128


Server(("", int(os.environ["TRIMTAB_PORT"])), Multiplying).serve_forever()
