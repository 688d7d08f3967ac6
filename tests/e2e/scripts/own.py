"""The smallest server of the Open Inference Protocol there can be: it multiplies what it is given."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, FACTOR = os.environ["TRIMTAB_MODEL_NAME"], float(os.environ["FACTOR"])


class Multiplying(BaseHTTPRequestHandler):
    def reply(self, answer):
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply({"name": NAME, "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 1]}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["inputs"][0]
        output = {**asked, "name": "product", "data": [[FACTOR * x for x in row] for row in asked["data"]]}
        self.reply({"model_name": NAME, "outputs": [output]})


ThreadingHTTPServer(("", int(os.environ["TRIMTAB_PORT"])), Multiplying).serve_forever()
