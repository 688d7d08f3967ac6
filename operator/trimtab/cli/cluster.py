"""The cluster that KUBECONFIG names, as a terminal needs it: an object read or annotated, and its pods asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import urllib3
from kubernetes import config
from kubernetes.client import CustomObjectsApi
from kubernetes.client.exceptions import ApiException

from trimtab.cli.errors import Failure
from trimtab.cli.target import Target
from trimtab.core.objects import Object

SECONDS = 15
LARGEST = 8 << 20
FIELD_MANAGER = "kubectl-trimtab"
MERGE = "application/merge-patch+json"


class Cluster:
    """One cluster and the namespace to look in: the one given, or the context's, or `default`."""

    def __init__(self, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
        try:
            _, chosen = config.list_kube_config_contexts(kubeconfig)
            client = config.new_client_from_config(kubeconfig, context)
            contexts, _ = config.list_kube_config_contexts(kubeconfig)
        except (config.ConfigException, OSError) as error:
            raise Failure(f"there is no usable kubeconfig: {error}; set KUBECONFIG or give --kubeconfig") from None
        entry = next((item for item in contexts if item["name"] == context), chosen)
        self.namespace = namespace or entry["context"].get("namespace") or "default"
        # Nobody at a terminal wants to wait for several attempts at a cluster that is away.
        client.rest_client.pool_manager.connection_pool_kw["retries"] = False
        self._api = CustomObjectsApi(client)

    def get(self, target: Target) -> Object:
        """The object as the API server has it."""
        return self._call(target, self._api.get_namespaced_custom_object)

    def annotate(self, target: Target, annotations: Mapping[str, str | None]) -> Object:
        """Set annotations, and remove those that are None."""
        body = {"metadata": {"annotations": dict(annotations)}}
        patch = self._api.patch_namespaced_custom_object
        return self._call(target, patch, body=body, field_manager=FIELD_MANAGER, _content_type=MERGE)

    def pods(self, selector: str) -> list[Object]:
        """The pods with these labels, by name."""
        answer = self._read(f"/api/v1/namespaces/{self.namespace}/pods", [("labelSelector", selector)])
        found: list[Object] = json.loads(answer)["items"]
        return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))

    def ask(self, pod: str, port: int, path: str) -> bytes:
        """What a pod answers to GET, through the API server."""
        return self._read(f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy{path}", [])

    def _read(self, path: str, query: list[tuple[str, str]]) -> bytes:
        """The bytes of an answer; Failure says what is wrong with it.

        Not by the client's own calls, which quote the slashes of a pod's path and read JSON that is none of theirs.
        """
        client = self._api.api_client
        asked = client.param_serialize("GET", path, query_params=query, auth_settings=["BearerToken"])
        try:
            response = client.call_api(*asked, _request_timeout=SECONDS).response
            content: bytes = response.read(LARGEST + 1)
            response.close()
        except urllib3.exceptions.HTTPError as error:
            raise Failure(f"the API server does not answer: {error}") from None
        if response.status != HTTPStatus.OK:
            raise Failure(f"HTTP {response.status}: {_message(content) or response.reason}")
        if len(content) > LARGEST:
            raise Failure(f"the answer is larger than {LARGEST >> 20} MiB")
        return content

    def _call(self, target: Target, call: Callable[..., Any], **more: Any) -> Object:
        resource = target.resource
        try:
            found: Object = call(
                resource.group,
                resource.version,
                self.namespace,
                resource.plural,
                target.name,
                _request_timeout=SECONDS,
                **more,
            )
        except ApiException as error:
            raise Failure(self._refused(target, error)) from None
        except urllib3.exceptions.HTTPError as error:
            raise Failure(f"the API server does not answer: {error}") from None
        return found

    def _refused(self, target: Target, error: ApiException) -> str:
        said = _message(error.body) or str(error.reason)
        if error.status == 404 and target.name in said:
            return f"there is no {target} in namespace {self.namespace}; try -n, or kubectl get {target.short} -A"
        if error.status == 404:
            return f"the cluster does not know {target.resource.plural}.{target.resource.group}: install the chart"
        return f"the API server refuses (HTTP {error.status}): {said}"


def _message(body: Any) -> str:
    """The sentence in a Status object."""
    try:
        told = json.loads(body)
    except (TypeError, ValueError):
        return ""
    return str(told.get("message", "")) if isinstance(told, dict) else ""
