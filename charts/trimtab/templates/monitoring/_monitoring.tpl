{{/* The scrape job of that name in files/scrape.yaml, as YAML. Call with (dict "root" $ "job" "trimtab-servers"). */}}
{{- define "trimtab.scrapeJob" -}}
{{- range .root.Files.Get "files/scrape.yaml" | fromYamlArray -}}
{{- if eq .job_name $.job }}{{ toYaml . }}{{ end -}}
{{- end -}}
{{- end -}}

{{/*
Relabelings of a monitor: those of the job in files/scrape.yaml, in the spelling of the Prometheus operator. The
ones that choose pods by their port go without, because a monitor names its port.
*/}}
{{- define "trimtab.relabelings" -}}
{{- $job := include "trimtab.scrapeJob" . | fromYaml -}}
{{- range $job.relabel_configs }}
- sourceLabels: {{ toJson .source_labels }}
  {{- with .regex }}
  regex: {{ . | quote }}
  {{- end }}
  {{- with .action }}
  action: {{ . }}
  {{- end }}
  {{- with .target_label }}
  targetLabel: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The alert rules, each with the address of its page. */}}
{{- define "trimtab.alerts" -}}
{{- .Files.Get "files/alerts.yaml" | replace "docs/alerts.md" .Values.metrics.alerts.runbookUrl -}}
{{- end -}}
