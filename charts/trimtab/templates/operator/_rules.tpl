{{/*
What the operator may do to objects of its users: no more than it does, nothing by wildcard, no Secrets. It lists and
watches instead of getting, writes by server-side apply (create and patch), and prunes by deleting.
tests/apiserver/faults/test_rights.py holds this list to what is used.
*/}}
{{- define "trimtab.rules" -}}
- apiGroups: [trimtab.dev]
  resources: [mlmodels, modeldeployments, abtests, retrainschedules]
  verbs: [list, watch]
- apiGroups: [trimtab.dev]
  resources: [mlmodels/status, modeldeployments/status, abtests/status, retrainschedules/status]
  verbs: [patch]
# Owner references that block their owner's deletion need this where that admission check is on.
- apiGroups: [trimtab.dev]
  resources: [mlmodels/finalizers, modeldeployments/finalizers, abtests/finalizers, retrainschedules/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, patch, delete]
{{- if .Values.gatewayApi.enabled }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [list, watch, create, patch, delete]
{{- end }}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* The subject of every binding. */}}
{{- define "trimtab.subjects" -}}
- kind: ServiceAccount
  name: {{ include "trimtab.operatorServiceAccount" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}
