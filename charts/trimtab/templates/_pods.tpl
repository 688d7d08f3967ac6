{{/* Where a pod may run and with which pull secrets. Call with (dict "root" $ "values" <the map with nodeSelector …>). */}}
{{- define "trimtab.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* NetworkPolicy peer: the pods of this release, its test pod included. */}}
{{- define "trimtab.ownPods" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: trimtab
      app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The operator's whole configuration; trimtab/settings.py reads exactly these names. */}}
{{- define "trimtab.operatorEnv" -}}
- name: POD_NAME
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef: {fieldPath: metadata.namespace}
- name: HOME
  value: /tmp
- name: TRIMTAB_WATCH_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
- name: TRIMTAB_SERVER_IMAGE
  value: {{ include "trimtab.image" (dict "root" . "image" .Values.servingImage) | quote }}
- name: TRIMTAB_TOOLBOX_IMAGE
  value: {{ include "trimtab.image" (dict "root" . "image" .Values.toolboxImage) | quote }}
- name: TRIMTAB_ROUTER_IMAGE
  value: {{ include "trimtab.image" (dict "root" . "image" .Values.router.image) | quote }}
- name: TRIMTAB_XDS_ADDRESS
  value: {{ printf "%s-xds.%s.svc:18000" (include "trimtab.prefix" .) .Release.Namespace | quote }}
- name: TRIMTAB_IMAGE_PULL_POLICY
  value: {{ .Values.image.pullPolicy }}
- name: TRIMTAB_STORE_URI
  value: {{ include "trimtab.storeUri" . | quote }}
- name: TRIMTAB_MLFLOW_TRACKING_URI
  value: {{ include "trimtab.trackingUri" . | quote }}
- name: TRIMTAB_PROMETHEUS_URI
  value: {{ .Values.prometheusUri | quote }}
- name: TRIMTAB_GATEWAY_API
  value: {{ .Values.gatewayApi.enabled | quote }}
- name: TRIMTAB_NOTIFICATIONS_DIR
  value: {{ ternary "/etc/trimtab/notifications" "" (ne .Values.notifications.secretName "") | quote }}
- name: TRIMTAB_JOB_SECRET_NAME
  value: {{ .Values.jobSecretName | quote }}
- name: TRIMTAB_MAX_CONCURRENT_RECONCILES
  value: {{ .Values.maxConcurrentReconciles | quote }}
- name: TRIMTAB_MAX_CONCURRENT_RUNS
  value: {{ .Values.retraining.maxConcurrentRuns | quote }}
- name: TRIMTAB_MAX_QUEUED_RUNS
  value: {{ .Values.retraining.maxQueuedRuns | quote }}
- name: TRIMTAB_RESYNC_SECONDS
  value: {{ .Values.resyncSeconds | quote }}
- name: TRIMTAB_LEASE_DURATION_SECONDS
  value: {{ .Values.leaderElection.leaseDurationSeconds | quote }}
- name: TRIMTAB_LEASE_RENEW_SECONDS
  value: {{ .Values.leaderElection.renewDeadlineSeconds | quote }}
- name: TRIMTAB_LEASE_RETRY_SECONDS
  value: {{ .Values.leaderElection.retryPeriodSeconds | quote }}
- name: TRIMTAB_LOG_LEVEL
  value: {{ .Values.logLevel }}
- name: TRIMTAB_LOG_FORMAT
  value: {{ .Values.logFormat }}
{{- end -}}
