{{/* What the pods of roles and jobs share. The argument of those that take a dict: root, the top level; name, of the role or job. */}}

{{- define "banklink.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "banklink.image" -}}
{{- $image := .Values.image }}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}{{ else }}{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "banklink.selector" -}}
app.kubernetes.io/name: banklink
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{- define "banklink.labels" -}}
{{ include "banklink.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* The settings, those of the role last, as JSON. */}}
{{- define "banklink.settings" -}}
{{- merge (dict) ((get .root.Values.roles .name | default dict).settings | default dict) .root.Values.settings | toJson }}
{{- end }}

{{/* The secrets of a role or job, separated by spaces. People who log in to the console at a proxy have no tokens. */}}
{{- define "banklink.secrets" -}}
{{- $console := "AMQP_URL DATABASE_URL" }}
{{- if ne (include "banklink.settings" . | fromJson).BANKLINK_CONSOLE_AUTH "proxy" }}
{{- $console = printf "%s BANKLINK_CONSOLE_TOKENS" $console }}
{{- end }}
{{- get (dict
  "ingress" "AMQP_URL LEAN_WEBHOOK_SECRETS"
  "worker" "AMQP_URL DATABASE_URL"
  "relay" "AMQP_URL DATABASE_URL"
  "api" "AMQP_URL DATABASE_URL BANKLINK_API_TOKENS"
  "reconciler" "AMQP_URL DATABASE_URL LEAN_CLIENT_SECRET"
  "console" $console
  "migrate" "DATABASE_URL"
  "topology" "AMQP_URL") .name }}
{{- end }}

{{- define "banklink.existingSecret" -}}
{{- $own := (get .root.Values.roles .name | default (get .root.Values .name)).existingSecret }}
{{- $own | default .root.Values.existingSecret | required (printf "existingSecret, or that of %s, must name a Secret" .name) }}
{{- end }}

{{/* The environment: each secret as a file, and the settings, those of the role last. */}}
{{- define "banklink.env" -}}
{{- range splitList " " (include "banklink.secrets" .) }}
- name: {{ . }}_FILE
  value: /run/secrets/banklink/{{ lower . | replace "_" "-" }}
{{- end }}
{{- if or .root.Values.ca.secret .root.Values.ca.configMap }}
- name: SSL_CERT_DIR
  value: /etc/ssl/certs
- name: SSL_CERT_FILE
  value: /etc/banklink/ca/ca.pem
{{- end }}
{{- range $name, $value := include "banklink.settings" . | fromJson }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* The admin addresses of all roles, for the console. The argument is the top level. */}}
{{- define "banklink.processes" -}}
{{- $addresses := list }}
{{- range $name, $role := .Values.roles }}
{{- if $role.enabled }}
{{- $addresses = append $addresses (printf "%s-%s-admin:9464" (include "banklink.fullname" $) $name) }}
{{- end }}
{{- end }}
{{- join "," $addresses }}
{{- end }}

{{/* The ports of a rule of a NetworkPolicy. The argument is their numbers. */}}
{{- define "banklink.ports" -}}
{{- range . }}
- { port: {{ . }} }
{{- end }}
{{- end }}

{{/* The account of the roles, which has no rights and whose token no pod mounts. The argument is the top level. */}}
{{- define "banklink.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "banklink.fullname" .) }}
{{- else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "banklink.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "banklink.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "banklink.volumeMounts" -}}
- { name: secrets, mountPath: /run/secrets/banklink, readOnly: true }
- { name: tmp, mountPath: /tmp }
{{- if or .root.Values.ca.secret .root.Values.ca.configMap }}
- { name: ca, mountPath: /etc/banklink/ca, readOnly: true }
{{- end }}
{{- end }}

{{- define "banklink.volumes" -}}
- name: secrets
  secret:
    secretName: {{ include "banklink.existingSecret" . }}
    defaultMode: 0440
    items:
    {{- range splitList " " (include "banklink.secrets" .) }}
      - { key: {{ lower . | replace "_" "-" }}, path: {{ lower . | replace "_" "-" }} }
    {{- end }}
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
{{- with .root.Values.ca.secret }}
- name: ca
  secret: { secretName: {{ . }}, items: [{ key: ca.pem, path: ca.pem }] }
{{- end }}
{{- with .root.Values.ca.configMap }}
- name: ca
  configMap: { name: {{ . }}, items: [{ key: ca.pem, path: ca.pem }] }
{{- end }}
{{- end }}
