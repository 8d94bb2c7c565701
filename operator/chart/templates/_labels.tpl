{{- define "labels" -}}
app.kubernetes.io/name: featurestore-operator
app.kubernetes.io/part-of: featurestore
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
