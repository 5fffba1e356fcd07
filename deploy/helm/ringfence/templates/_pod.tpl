{{/* Variables of a service: what the chart knows and the file cannot: (list $ "worker"). */}}
{{- define "ringfence.env" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $about := get (include "ringfence.services" $root | fromYaml) $service -}}
- {name: RINGFENCE_CONFIG, value: /etc/ringfence/settings}
- {name: RINGFENCE_OPS__HTTP_HOST, value: "0.0.0.0"}
- {name: RINGFENCE_LISTS__STATE_DIR, value: /var/lib/ringfence/state}
{{- if $root.Values.agreements }}
- {name: RINGFENCE_AGREEMENTS__DIR, value: /etc/ringfence/agreements}
{{- end }}
{{- if not (has "kafka" $about.uses) }}
# It does not use Kafka, and gets no password.
- {name: RINGFENCE_KAFKA__SECURITY_PROTOCOL, value: PLAINTEXT}
{{- else }}
{{- if and $about.port (or (ne $service "worker") $root.Values.worker.instanceIds) }}
# In a StatefulSet each pod keeps its name, so a restarted pod gets the same partitions back.
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
- name: RINGFENCE_CALLS__INSTANCE_ID
  value: {{ printf "%s$(POD_NAMESPACE).$(POD_NAME)" (ternary "" (printf "%s." $root.Values.site) (eq $root.Values.site "")) | quote }}
{{- end }}
{{- $own := hasKey (default dict (get $root.Values.config "calls")) "leave_on_stop" }}
{{- if and (eq $service "worker") $root.Values.worker.autoscaling.enabled (not $own) }}
# KEDA removes pods permanently, and a pod cannot distinguish that from a restart.
- {name: RINGFENCE_CALLS__LEAVE_ON_STOP, value: "true"}
{{- end }}
{{- if and (include "ringfence.sasl" $root) (not (include "ringfence.account" .)) }}
# The same as in the file; KEDA reads them here.
- {name: RINGFENCE_KAFKA__SASL_USERNAME, value: {{ $root.Values.config.kafka.sasl_username | quote }}}
{{- if eq (include "ringfence.setting" (list $root "kafka" "sasl_mechanism" "PLAIN")) "OAUTHBEARER" }}
- {name: RINGFENCE_KAFKA__OAUTH_TOKEN_URL, value: {{ include "ringfence.setting" (list $root "kafka" "oauth_token_url" "") | quote }}}
- {name: RINGFENCE_KAFKA__OAUTH_SCOPE, value: {{ include "ringfence.setting" (list $root "kafka" "oauth_scope" "") | quote }}}
{{- end }}
{{- else if include "ringfence.sasl" $root }}
- {name: RINGFENCE_KAFKA__SASL_USERNAME, value: {{ include "ringfence.name" . }}}
- {name: RINGFENCE_KAFKA_PASSWORD_FILE, value: /run/ringfence/secrets/RINGFENCE_KAFKA_PASSWORD}
{{- end }}
{{- end }}
{{- range $variable, $_ := include "ringfence.secrets" . | fromYaml }}
- {name: {{ $variable }}_FILE, value: /run/ringfence/secrets/{{ $variable }}}
{{- end }}
{{- range $use, $files := include "ringfence.certificates" . | fromYaml }}
{{- $section := get (dict "kafka" "KAFKA" "redis" "REDIS" "proxies" "SINKS__REDIS" "http" "SERVE" "sip" "SIP" "card" "SIP__CARD" "sftp" "INGEST__SFTP") $use }}
{{- range $part, $_ := $files }}
- name: {{ if eq $use "stir" }}RINGFENCE_STIR__TRUSTED{{ else }}RINGFENCE_{{ $section }}__{{ upper $part }}_FILE{{ end }}
  value: /run/ringfence/certificates/{{ $use }}/{{ $part }}.pem
{{- end }}
{{- end }}
{{- if and (has "stir" $about.uses) $root.Values.stir.claim }}
- {name: RINGFENCE_STIR__CERTIFICATES, value: /srv/certificates}
{{- end }}
{{- if and (has $service (list "feeds" "ingest")) $root.Values.aws.credentials.name }}
# AWS' own client reads only these variables.
- {name: AWS_SHARED_CREDENTIALS_FILE, value: /run/ringfence/aws/credentials}
{{- end }}
{{- if eq $service "http" }}
- {name: RINGFENCE_SERVE__HOST, value: "0.0.0.0"}
{{- with include "ringfence.watched" $root }}
# Its page shows the figures of the other pods too.
- {name: RINGFENCE_OPS__WATCH, value: {{ . | quote }}}
{{- end }}
{{- else if eq $service "sip" }}
- {name: RINGFENCE_SIP__HOST, value: "0.0.0.0"}
{{- else if eq $service "feeds" }}
- {name: RINGFENCE_FEEDS__DIR, value: /etc/ringfence/feeds}
{{- end }}
{{- end -}}

{{/* Addresses of the other pods' health pages, with commas: those that always run. */}}
{{- define "ringfence.watched" -}}
{{- $found := list -}}
{{- $services := include "ringfence.services" . | fromYaml -}}
{{- range $workload, $names := include "ringfence.workloads" . | fromYaml -}}
{{- if ne $workload "http" -}}
{{- range $service := $names -}}
{{- range until (include "ringfence.replicas" (list $ $workload) | int) -}}
{{- $host := printf "%s-%d.%s" (include "ringfence.name" (list $ $workload)) . (include "ringfence.podsname" (list $ $workload)) -}}
{{- $found = append $found (printf "http://%s:%v" $host (get $services $service).port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- join "," $found -}}
{{- end -}}

{{/* Pods that a StatefulSet has at least: (list $ "worker"). */}}
{{- define "ringfence.replicas" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
{{- if (default dict $values.autoscaling).enabled }}{{ $values.autoscaling.min }}{{ else }}{{ default 1 $values.replicas }}{{ end -}}
{{- end -}}

{{/* Certificates of a service: use -> part (ca, cert, key) -> {secret, key}: (list $ "worker"). */}}
{{- define "ringfence.certificates" -}}
{{- $root := index . 0 -}}
{{- $about := get (include "ringfence.services" $root | fromYaml) (index . 1) -}}
{{- $found := dict -}}
{{- range $use := $about.uses -}}
{{- $given := get $root.Values.certificates $use -}}
{{- $parts := dict -}}
{{- if $given.secret -}}
{{- range $part := list "ca" "cert" "key" -}}
{{- with get $given $part }}{{ $_ := set $parts $part (dict "secret" $given.secret "key" .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $use "kafka") (include "ringfence.account" $) (eq $root.Values.strimzi.authentication "tls") -}}
{{- $_ := set $parts "cert" (dict "secret" (include "ringfence.name" $) "key" "user.crt") -}}
{{- $_ := set $parts "key" (dict "secret" (include "ringfence.name" $) "key" "user.key") -}}
{{- end -}}
{{- if $parts }}{{ $_ := set $found $use $parts }}{{ end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/* Where a container finds its files: (list $ "worker"). */}}
{{- define "ringfence.mounts" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
- {name: settings, mountPath: /etc/ringfence/settings, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if ne $service "topics" }}
- {name: state, mountPath: /var/lib/ringfence}
{{- end }}
{{- if include "ringfence.private" . }}
- {name: {{ $service }}-private, mountPath: /run/ringfence, readOnly: true}
{{- end }}
{{- if $root.Values.agreements }}
- {name: agreements, mountPath: /etc/ringfence/agreements, readOnly: true}
{{- end }}
{{- if $root.Values.roots }}
- {name: roots, mountPath: /etc/ringfence/roots, readOnly: true}
{{- end }}
{{- if eq $service "feeds" }}
- {name: feeds, mountPath: /etc/ringfence/feeds, readOnly: true}
{{- with $root.Values.feeds.claim }}
- {name: drop, mountPath: /srv/feeds}
{{- end }}
{{- else if and (eq $service "ingest") $root.Values.ingest.claim }}
- {name: records, mountPath: /srv/records, readOnly: true}
{{- end }}
{{- if include "ringfence.signers" . }}
- {name: signers, mountPath: /srv/certificates, readOnly: true}
{{- end }}
{{- end -}}

{{/* "true" where a service reads the volume of signers' certificates: (list $ "worker"). */}}
{{- define "ringfence.signers" -}}
{{- $about := get (include "ringfence.services" (index . 0) | fromYaml) (index . 1) -}}
{{- if and (has "stir" $about.uses) (index . 0).Values.stir.claim }}true{{ end -}}
{{- end -}}

{{/* Secrets and certificates of a container, as sources of one volume: (list $ "worker"). "": it has none. */}}
{{- define "ringfence.private" -}}
{{- $root := index . 0 -}}
{{- range $variable, $one := include "ringfence.secrets" . | fromYaml }}
- secret: {name: {{ $one.name }}, items: [{key: {{ default $variable $one.key }}, path: secrets/{{ $variable }}}]}
{{- end }}
{{- if and (include "ringfence.account" .) (include "ringfence.sasl" $root) }}
- secret: {name: {{ include "ringfence.name" . }}, items: [{key: password, path: secrets/RINGFENCE_KAFKA_PASSWORD}]}
{{- end }}
{{- range $use, $parts := include "ringfence.certificates" . | fromYaml }}
{{- range $part, $one := $parts }}
- secret: {name: {{ $one.secret }}, items: [{key: {{ $one.key }}, path: certificates/{{ $use }}/{{ $part }}.pem}]}
{{- end }}
{{- end }}
{{- if eq (index . 1) "feeds" }}
{{- range $file, $one := $root.Values.feeds.keys }}
- secret: {name: {{ $one.name }}, items: [{key: {{ default $file $one.key }}, path: keys/{{ $file }}}]}
{{- end }}
{{- end }}
{{- with $root.Values.aws.credentials }}
{{- if and .name (has (index $ 1) (list "feeds" "ingest")) }}
- secret: {name: {{ .name }}, items: [{key: {{ .key }}, path: aws/credentials}]}
{{- end }}
{{- end }}
{{- end -}}

{{/* Volumes of a pod with these services, but the state's: (list $ (list "exchange" "enforcement")). */}}
{{- define "ringfence.volumes" -}}
{{- $root := index . 0 -}}
{{- $name := include "ringfence.fullname" $root -}}
- {name: settings, configMap: {name: {{ $name }}-settings}}
- {name: tmp, emptyDir: {}}
{{- range $service := index . 1 }}
{{- with include "ringfence.private" (list $root $service) }}
- name: {{ $service }}-private
  # The group reads them: the kubelet gives a volume's files to fsGroup.
  projected:
    defaultMode: 0440
    sources:
      {{- . | trim | nindent 6 }}
{{- end }}
{{- if eq $service "feeds" }}
- {name: feeds, configMap: {name: {{ $name }}-feeds}}
{{- with $root.Values.feeds.claim }}
- {name: drop, persistentVolumeClaim: {claimName: {{ . }}}}
{{- end }}
{{- else if and (eq $service (first (index $ 1))) (has $service (list "exchange" "enforcement")) $root.Values.exchange.web.enabled }}
- {name: web, configMap: {name: {{ $name }}-web}}
- {name: web-tmp, emptyDir: {}}
{{- else if and (eq $service "ingest") $root.Values.ingest.claim }}
- {name: records, persistentVolumeClaim: {claimName: {{ $root.Values.ingest.claim }}, readOnly: true}}
{{- end }}
{{- if include "ringfence.signers" (list $root $service) }}
- {name: signers, persistentVolumeClaim: {claimName: {{ $root.Values.stir.claim }}, readOnly: true}}
{{- end }}
{{- end }}
{{- if $root.Values.agreements }}
- {name: agreements, configMap: {name: {{ $name }}-agreements}}
{{- end }}
{{- if $root.Values.roots }}
- {name: roots, configMap: {name: {{ $name }}-roots}}
{{- end }}
{{- end -}}

{{/* Pod Security "restricted": the image's user, and nothing that it may become. */}}
{{- define "ringfence.podsecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
# Only a new volume is changed: later its many files would cost time, and the group could read private keys.
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "ringfence.containersecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The words of a service's command, as a YAML list: (list $ "worker"). */}}
{{- define "ringfence.command" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $words := (get (include "ringfence.services" $root | fromYaml) $service).command -}}
{{- $values := default dict (get $root.Values $service) -}}
{{- if gt (int (default 1 $values.processes)) 1 }}{{ $words = concat $words (list "--workers" (toString $values.processes)) }}{{ end -}}
{{- if eq $service "ingest" }}{{ $words = concat $words (list "--dialect" $values.dialect (default (printf "/srv/records/%s" $values.path) $values.url)) }}{{ end -}}
{{- toJson $words -}}
{{- end -}}

{{/* Seconds until a pod that ends is killed: longer than all that it may take itself. */}}
{{- define "ringfence.grace" -}}
{{- add 15 (include "ringfence.setting" (list . "ops" "shutdown_s" 20) | float64 | ceil | int) -}}
{{- end -}}

{{/* One container: (list $ "worker"). */}}
{{- define "ringfence.container" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $about := get (include "ringfence.services" $root | fromYaml) $service -}}
{{- $waits := and (eq $service "exchange") $root.Values.exchange.maintenance -}}
name: {{ $service }}
image: {{ include "ringfence.image" $root }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- if $waits }}
command: [sleep, infinity]
{{- else }}
args: {{ include "ringfence.command" . }}
{{- end }}
workingDir: {{ ternary "/tmp" "/var/lib/ringfence" (eq $service "topics") }}
env:
  {{- include "ringfence.env" . | nindent 2 }}
{{- if $about.port }}
ports:
  - {name: {{ include "ringfence.portname" $service }}, containerPort: {{ $about.port }}}
  {{- if eq $service "http" }}
  - {name: http, containerPort: 8088}
  {{- else if eq $service "sip" }}
  - {name: sip-udp, containerPort: 5060, protocol: UDP}
  - {name: sip-tcp, containerPort: 5060, protocol: TCP}
  - {name: sip-tls, containerPort: 5061, protocol: TCP}
  {{- end }}
{{- if not $waits }}
# Live, not ready: without lists or partitions a service waits, and a restart would not help it.
startupProbe:
  httpGet: {path: /live, port: {{ $about.port }}}
  periodSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /live, port: {{ $about.port }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /ready, port: {{ $about.port }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}
{{- if has $service (list "http" "sip") }}
lifecycle:
  # Requests still arrive until all nodes know that the pod stops.
  preStop: {exec: {command: [sleep, "5"]}}
{{- end }}
{{- end }}
resources:
  {{- toYaml (get $root.Values $service).resources | nindent 2 }}
securityContext:
  {{- include "ringfence.containersecurity" $root | nindent 2 }}
volumeMounts:
  {{- include "ringfence.mounts" . | nindent 2 }}
{{- end -}}

{{/* The web server of the repository. It sees nothing but that: keys lie in another folder of the volume. */}}
{{- define "ringfence.web" -}}
name: web
image: {{ .Values.exchange.web.image }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
ports:
  - {name: web, containerPort: 8080}
readinessProbe:
  httpGet: {path: /metadata/timestamp.json, port: web}
resources:
  {{- toYaml .Values.exchange.web.resources | nindent 2 }}
securityContext:
  {{- include "ringfence.containersecurity" . | nindent 2 }}
volumeMounts:
  - {name: web, mountPath: /etc/nginx/conf.d, readOnly: true}
  - {name: web-tmp, mountPath: /tmp}
  - {name: state, mountPath: /srv/exchange, subPath: exchange/repository, readOnly: true}
{{- end -}}

{{/* What all pods have of `pods`, and who they are: (list $ "worker" (list "worker")). */}}
{{- define "ringfence.podspec" -}}
{{- $root := index . 0 -}}
{{- $pods := $root.Values.pods -}}
serviceAccountName: {{ include "ringfence.fullname" $root }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - {name: {{ . }}}
  {{- end }}
{{- end }}
# It does not use the API server.
automountServiceAccountToken: false
# Variables of Services would look like settings.
enableServiceLinks: false
securityContext:
  {{- include "ringfence.podsecurity" $root | nindent 2 }}
terminationGracePeriodSeconds: {{ include "ringfence.grace" $root }}
{{- with $pods.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $pods.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pods.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pods.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pods.topologySpread }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | indent 4 | trim }}
    labelSelector:
      matchLabels:
        {{- include "ringfence.selector" (list $root (index $ 1)) | nindent 8 }}
  {{- end }}
{{- end }}
containers:
  {{- range index . 2 }}
  - {{ include "ringfence.container" (list $root .) | indent 4 | trim }}
  {{- end }}
  {{- if and (eq (index . 1) "exchange") $root.Values.exchange.web.enabled }}
  - {{ include "ringfence.web" $root | indent 4 | trim }}
  {{- end }}
{{- end -}}
