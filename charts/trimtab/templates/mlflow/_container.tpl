{{- define "trimtab.mlflowClaim" -}}
{{- .Values.mlflow.persistence.existingClaim | default (printf "%s-mlflow" (include "trimtab.prefix" .)) -}}
{{- end -}}

{{/*
What the server and the upgrade of its database have in common. The database's URI is given as environment, not as an
argument, because it may hold a password. Job execution starts seven more processes of no use here, and telemetry would
call out of the cluster.
*/}}
{{- define "trimtab.mlflowContainer" -}}
image: {{ include "trimtab.mlflowImage" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with .Values.mlflow.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
env:
  - name: HOME
    value: /tmp
  - name: MLFLOW_BACKEND_STORE_URI
    {{- if .Values.mlflow.database.existingSecret }}
    valueFrom:
      secretKeyRef:
        name: {{ .Values.mlflow.database.existingSecret | quote }}
        key: {{ .Values.mlflow.database.key | quote }}
    {{- else }}
    value: sqlite:////data/mlflow.db
    {{- end }}
  - name: MLFLOW_SERVER_ENABLE_JOB_EXECUTION
    value: "false"
  - name: MLFLOW_DISABLE_TELEMETRY
    value: "true"
  - name: DO_NOT_TRACK
    value: "true"
  - name: GIT_PYTHON_REFRESH
    value: quiet
  {{- with .Values.mlflow.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if include "trimtab.mlflowOnVolume" . }}
  - name: data
    mountPath: /data
  {{- end }}
{{- end -}}
