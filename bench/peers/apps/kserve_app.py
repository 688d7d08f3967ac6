"""A model on the KServe SDK, as KServe's own scikit-learn server is written: its helpers, in and out."""

import argparse
import os

import joblib
import kserve
from kserve.utils.utils import get_predict_input, get_predict_response


class Predictor(kserve.Model):
    """Loads the file and predicts."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.load()

    def load(self) -> bool:
        """Read the model."""
        self._model = joblib.load(os.environ["BENCH_MODEL"])
        self.ready = True
        return self.ready

    def predict(self, payload, headers=None, response_headers=None):
        """One answer."""
        return get_predict_response(payload, self._model.predict(get_predict_input(payload)), self.name)


if __name__ == "__main__":
    options = argparse.ArgumentParser(parents=[kserve.model_server.parser]).parse_args()
    server = kserve.ModelServer(
        http_port=options.http_port, workers=1, enable_grpc=False, enable_latency_logging=False, access_log_format=None
    )
    server.start([Predictor("bench")])
