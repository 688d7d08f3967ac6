{{/*
Combinations that the schema cannot express and that would fail later, somewhere else, with less to say.
Included by the operator's Deployment, so every render passes here.
*/}}
{{- define "trimtab.refuse" -}}
{{- include "trimtab.refuseMlflow" . -}}
{{- include "trimtab.refuseStore" . -}}
{{- include "trimtab.refuseOperator" . -}}
{{- end -}}

{{/* Called where labels are written, with those of the user: a second value of one label would be dropped silently. */}}
{{- define "trimtab.refuseLabels" -}}
{{- range $label, $_ := . -}}
{{- if regexMatch "^(app[.]kubernetes[.]io/(name|instance|component|part-of|version|managed-by)|helm[.]sh/chart)$" $label -}}
{{- fail (printf "the label %q is one that the chart sets itself: take it out of commonLabels, podLabels and the labels below metrics" $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "trimtab.refuseMlflow" -}}
{{- $mlflow := .Values.mlflow -}}
{{- if and $mlflow.enabled $mlflow.trackingUri -}}
{{- fail (printf "mlflow.trackingUri is %q but mlflow.enabled is true: set mlflow.enabled=false to use the server there, or leave mlflow.trackingUri empty to use the one of this release" $mlflow.trackingUri) -}}
{{- end -}}
{{- if and $mlflow.trackingUri (not (regexMatch "^https?://[^/@]+(/[^@]*)?$" $mlflow.trackingUri)) -}}
{{- fail (printf "mlflow.trackingUri is %q: give the address of an MLflow server, such as https://mlflow.example.com, with no password in it (those go into mlflow.existingSecret)" $mlflow.trackingUri) -}}
{{- end -}}
{{- if and $mlflow.existingSecret (not $mlflow.trackingUri) -}}
{{- fail "mlflow.existingSecret holds credentials for mlflow.trackingUri, which is empty: set mlflow.trackingUri, or leave mlflow.existingSecret empty (the embedded server asks for none)" -}}
{{- end -}}
{{- if and $mlflow.image.repository (not (or $mlflow.image.tag $mlflow.image.digest)) -}}
{{- fail "mlflow.image.repository is set without a tag: set mlflow.image.tag or mlflow.image.digest too" -}}
{{- end -}}
{{- if and (not $mlflow.image.repository) (or $mlflow.image.tag $mlflow.image.digest) -}}
{{- fail "mlflow.image.tag or mlflow.image.digest is set without mlflow.image.repository: set the repository too, or change toolboxImage, which MLflow runs by default" -}}
{{- end -}}
{{- if and $mlflow.persistence.existingClaim (not $mlflow.persistence.enabled) -}}
{{- fail "mlflow.persistence.existingClaim is set but mlflow.persistence.enabled is false: set it to true, or leave existingClaim empty" -}}
{{- end -}}
{{- if and $mlflow.enabled (not $mlflow.serviceAccount.create) (not $mlflow.serviceAccount.name) -}}
{{- fail "mlflow.serviceAccount.create is false: set mlflow.serviceAccount.name to an account that exists" -}}
{{- end -}}
{{- end -}}

{{- define "trimtab.refuseStore" -}}
{{- $uri := .Values.store.uri -}}
{{- if and (not $uri) (not .Values.mlflow.enabled) (not .Values.mlflow.trackingUri) -}}
{{- fail "there is nowhere to keep models: set mlflow.enabled=true, or mlflow.trackingUri to an MLflow server, or store.uri to a bucket such as s3://models/trimtab" -}}
{{- end -}}
{{- if and $uri (not (regexMatch "^(https?|s3|gs|az)://[^/@]+(/[^@]*)?$" $uri)) -}}
{{- fail (printf "store.uri is %q: use s3://, gs://, az:// or the http(s):// root of an artifact proxy, with no password in it (those go into the Secret named by jobSecretName)" $uri) -}}
{{- end -}}
{{- end -}}

{{- define "trimtab.refuseOperator" -}}
{{- if not (regexMatch "^[a-z][-a-z0-9]*$" (include "trimtab.prefix" .)) -}}
{{- fail (printf "the release's name %q cannot begin names of Services: set fullnameOverride to lower-case letters, digits and hyphens, a letter first" .Release.Name) -}}
{{- end -}}
{{- $election := .Values.leaderElection -}}
{{- if or (ge (int $election.renewDeadlineSeconds) (int $election.leaseDurationSeconds)) (ge (int $election.retryPeriodSeconds) (int $election.renewDeadlineSeconds)) -}}
{{- fail (printf "leaderElection must hold retryPeriodSeconds < renewDeadlineSeconds < leaseDurationSeconds, or two replicas could lead at once; it is %v, %v, %v" (int $election.retryPeriodSeconds) (int $election.renewDeadlineSeconds) (int $election.leaseDurationSeconds)) -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (gt (int .Values.replicaCount) 1) (ge (int .Values.podDisruptionBudget.minAvailable) (int .Values.replicaCount)) -}}
{{- fail (printf "podDisruptionBudget.minAvailable is %v with replicaCount %v: no node could ever be drained; make it less, or set podDisruptionBudget.enabled=false" (int .Values.podDisruptionBudget.minAvailable) (int .Values.replicaCount)) -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false: set serviceAccount.name to an account that exists" -}}
{{- end -}}
{{- end -}}
