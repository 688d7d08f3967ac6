{{/* Prefix of every object's name. */}}
{{- define "trimtab.prefix" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels by which a component's pods are selected. They can never change. Call with (dict "root" $ "component" "operator"). */}}
{{- define "trimtab.selector" -}}
app.kubernetes.io/name: trimtab
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/*
Labels of pods: nothing that changes with the chart's version, or every upgrade would restart them. `more` in the
call are labels that users gave for this object alone; they go before those for all.
*/}}
{{- define "trimtab.podLabels" -}}
{{- with merge (dict) (.more | default dict) (.root.Values.commonLabels | default dict) -}}
{{- include "trimtab.refuseLabels" . -}}
{{ toYaml . }}
{{ end -}}
{{ include "trimtab.selector" . }}
app.kubernetes.io/part-of: trimtab
{{- end -}}

{{/* Labels of every other object. Call like trimtab.selector. */}}
{{- define "trimtab.labels" -}}
{{ include "trimtab.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | quote }}
{{- end -}}

{{- define "trimtab.operatorServiceAccount" -}}
{{- .Values.serviceAccount.name | default (printf "%s-operator" (include "trimtab.prefix" .)) -}}
{{- end -}}

{{- define "trimtab.mlflowServiceAccount" -}}
{{- .Values.mlflow.serviceAccount.name | default (printf "%s-mlflow" (include "trimtab.prefix" .)) -}}
{{- end -}}

{{/* One image reference. Call with (dict "root" $ "image" .Values.image); a digest wins over a tag. */}}
{{- define "trimtab.image" -}}
{{- $name := .image.repository -}}
{{- with .root.Values.imageRegistry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "trimtab.mlflowImage" -}}
{{- $image := ternary .Values.mlflow.image .Values.toolboxImage (ne .Values.mlflow.image.repository "") -}}
{{- include "trimtab.image" (dict "root" . "image" $image) -}}
{{- end -}}
