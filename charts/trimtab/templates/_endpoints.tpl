{{/* The MLflow server the operator and the Jobs talk to, without a slash at the end; empty when there is none. */}}
{{- define "trimtab.trackingUri" -}}
{{- if .Values.mlflow.enabled -}}
{{- printf "http://%s-mlflow.%s.svc:5000" (include "trimtab.prefix" .) .Release.Namespace -}}
{{- else -}}
{{- .Values.mlflow.trackingUri | trimSuffix "/" -}}
{{- end -}}
{{- end -}}

{{/* The model store: what is set, or a folder of its own behind MLflow's artifact proxy. */}}
{{- define "trimtab.storeUri" -}}
{{- if .Values.store.uri -}}
{{- .Values.store.uri | trimSuffix "/" -}}
{{- else -}}
{{- printf "%s/api/2.0/mlflow-artifacts/artifacts/trimtab" (include "trimtab.trackingUri" .) -}}
{{- end -}}
{{- end -}}

{{/* The port an http(s) URI leads to. Call with the URI. */}}
{{- define "trimtab.portOf" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{/*
Every Host header by which a client in the cluster can reach the embedded server. MLflow compares the header as a
whole, so each name is needed alone (a client on port 80 of an Ingress) and with its port; localhost is for
port-forwards.
*/}}
{{- define "trimtab.allowedHosts" -}}
{{- $service := printf "%s-mlflow" (include "trimtab.prefix" .) -}}
{{- $inNamespace := printf "%s.%s" $service .Release.Namespace -}}
{{- $names := list $service $inNamespace (printf "%s.svc" $inNamespace) (printf "%s.svc.%s" $inNamespace .Values.clusterDomain) -}}
{{- $hosts := list -}}
{{- range $names }}{{ $hosts = concat $hosts (list . (printf "%s:5000" .)) }}{{ end -}}
{{- range list "localhost" "127.0.0.1" }}{{ $hosts = concat $hosts (list . (printf "%s:*" .)) }}{{ end -}}
{{- concat $hosts .Values.mlflow.extraAllowedHosts | join "," -}}
{{- end -}}

{{/* Whether the embedded server keeps anything on its volume: "true" or empty. */}}
{{- define "trimtab.mlflowOnVolume" -}}
{{- if not (and .Values.mlflow.database.existingSecret .Values.mlflow.artifactsDestination) }}true{{ end -}}
{{- end -}}
