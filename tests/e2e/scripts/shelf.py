"""A hub and an image registry that give one file to those who show the right credentials, and 401 to all others.

    FILE=… TOKEN=… USER_PASSWORD=user:password python shelf.py

Only what an import asks for: the hub's revision and file, the registry's manifest and blob.
"""

import base64
import hashlib
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = base64.b64decode(os.environ["FILE"])
BEARER = f"Bearer {os.environ['TOKEN']}"
BASIC = "Basic " + base64.b64encode(os.environ["USER_PASSWORD"].encode()).decode()
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
COMMIT = "0" * 40
LAYER = {
    "mediaType": "application/octet-stream",
    "digest": DIGEST,
    "size": len(CONTENT),
    "annotations": {"org.opencontainers.image.title": "model.onnx"},
}
MANIFEST = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [LAYER]}
PATHS = {
    "/api/models/team/iris/revision/main": (BEARER, json.dumps({"sha": COMMIT}).encode()),
    f"/team/iris/resolve/{COMMIT}/model.onnx": (BEARER, CONTENT),
    "/v2/team/iris/manifests/1": (BASIC, json.dumps(MANIFEST).encode()),
    f"/v2/team/iris/blobs/{DIGEST}": (BASIC, CONTENT),
}


class Shelf(BaseHTTPRequestHandler):
    """Answers GET."""

    def do_GET(self) -> None:
        """One of the files, 401 without its credentials, or 404."""
        wanted, body = PATHS.get(self.path, ("", b""))
        known = self.path in PATHS
        status = 200 if known and self.headers.get("authorization") == wanted else 401 if known else 404
        self.send_response(status)
        if status == 401 and wanted is BASIC:
            self.send_header("www-authenticate", "Basic")
        self.send_header("content-length", str(len(body) if status == 200 else 0))
        self.end_headers()
        if status == 200:
            self.wfile.write(body)


ThreadingHTTPServer(("", 8000), Shelf).serve_forever()
