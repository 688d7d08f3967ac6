"""Takes whatever JSON is posted, and prints it: a message a line."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Inbox(BaseHTTPRequestHandler):
    """Answers POST."""

    def do_POST(self) -> None:
        """Take it."""
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nothing but messages is printed."""


ThreadingHTTPServer(("", 8000), Inbox).serve_forever()
