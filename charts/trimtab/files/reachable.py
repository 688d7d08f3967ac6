"""What `helm test` runs: every address given must answer 200 within two minutes."""

import sys
import time
import urllib.error
import urllib.request

deadline = time.monotonic() + 120
for url in sys.argv[1:]:
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (addresses come from the chart)
                print(f"{url}: {answer.status}", flush=True)  # noqa: T201
                break
        except urllib.error.HTTPError as refusal:
            problem = f"{refusal.code} {refusal.read(200).decode(errors='replace')}"
        except OSError as error:
            problem = str(error)
        if time.monotonic() > deadline:
            sys.exit(f"{url} does not answer 200: {problem}")
        time.sleep(1)
