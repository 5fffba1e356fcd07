{{/*
TOML of a table: (list "" $table). Helm reads every number as a float and its own toToml writes 12 as 12.0, which no
integer setting takes; JSON's texts, numbers and lists are TOML's too.
*/}}
{{- define "ringfence.toml" -}}
{{- $at := index . 0 -}}
{{- $table := index . 1 -}}
{{- range $key, $value := $table }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ include "ringfence.key" $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- range $key, $value := $table }}
{{- if kindIs "map" $value }}
{{- $name := printf "%s%s" (ternary "" (printf "%s." $at) (eq $at "")) (include "ringfence.key" $key) }}
[{{ $name }}]
{{- include "ringfence.toml" (list $name $value) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "ringfence.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* Settings that the chart gives itself, by variables, which lie over the file: in the file they would be passed over. */}}
{{- define "ringfence.owned" -}}
- calls.instance_id
- kafka.ca_file
- kafka.cert_file
- kafka.key_file
- redis.ca_file
- redis.cert_file
- redis.key_file
- lists.state_dir
- feeds.dir
- feeds.http_port
- agreements.dir
- exchange.dir
- exchange.keys_dir
- exchange.state_dir
- exchange.circles_dir
- exchange.http_port
- enforcement.http_port
- serve.host
- serve.port
- serve.health_port
- serve.cert_file
- serve.key_file
- sip.host
- sip.port
- sip.tls_port
- sip.cert_file
- sip.key_file
- sip.health_port
- sip.card.key_file
- stir.trusted
- stir.certificates
- ingest.state_dir
- ingest.http_port
- ingest.sftp.key_file
- sinks.redis.ca_file
- sinks.redis.cert_file
- sinks.redis.key_file
- sinks.redis.http_port
- sinks.webhooks.http_port
- ops.http_host
- ops.http_port
- ops.kernels_dir
{{- end -}}

{{/* The circles' keys: variables that every service needs, since the settings name them. */}}
{{- define "ringfence.circles" -}}
{{- $found := list -}}
{{- range $_, $circle := default dict (get .Values.config "circles") }}{{ $found = append $found $circle.key_env }}{{ end -}}
{{- $found | sortAlpha | uniq | toYaml -}}
{{- end -}}

{{/* Variables of the webhooks' endpoints. */}}
{{- define "ringfence.webhooks" -}}
{{- $found := list -}}
{{- $webhooks := default dict (get (default dict (get .Values.config "sinks")) "webhooks") -}}
{{- range $_, $one := default dict (get $webhooks "endpoints") -}}
{{- range compact (list (get $one "secret_env") (get $one "old_secret_env")) }}{{ $found = append $found . }}{{ end -}}
{{- end -}}
{{- $found | sortAlpha | uniq | toYaml -}}
{{- end -}}

{{/* "true" where brokers ask for a name and password. */}}
{{- define "ringfence.sasl" -}}
{{- $region := include "ringfence.setting" (list . "kafka" "oauth_aws_region" "") -}}
{{- if and (not $region) (hasPrefix "SASL" (include "ringfence.setting" (list . "kafka" "security_protocol" "PLAINTEXT"))) }}true{{ end -}}
{{- end -}}

{{/* "true" where a service is an account of its own in Strimzi: (list $ "worker"). */}}
{{- define "ringfence.account" -}}
{{- $about := get (include "ringfence.services" (index . 0) | fromYaml) (index . 1) -}}
{{- if and (index . 0).Values.strimzi.users $about.kafka }}true{{ end -}}
{{- end -}}

{{/*
Secrets of a service, variable -> {name, key}: (list $ "worker"). One that it cannot start without, and that no value
names, ends the rendering.
*/}}
{{- define "ringfence.secrets" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $about := get (include "ringfence.services" $root | fromYaml) $service -}}
{{- $needed := dict -}}
{{- $taken := list -}}
{{- range include "ringfence.circles" $root | fromYamlArray -}}
{{- $_ := set $needed . "it is the key of a circle in config.circles" -}}
{{- end -}}
{{- if and (has "kafka" $about.uses) (include "ringfence.sasl" $root) (not (include "ringfence.account" .)) -}}
{{- $_ := set $needed "RINGFENCE_KAFKA_PASSWORD" (printf "config.kafka.security_protocol %s asks for a password" $root.Values.config.kafka.security_protocol) -}}
{{- end -}}
{{- $redis := list "RINGFENCE_REDIS_USERNAME" "RINGFENCE_REDIS_PASSWORD" "RINGFENCE_REDIS_SENTINEL_USERNAME" "RINGFENCE_REDIS_SENTINEL_PASSWORD" -}}
{{- $proxies := list "RINGFENCE_PROXIES_REDIS_USERNAME" "RINGFENCE_PROXIES_REDIS_PASSWORD" "RINGFENCE_PROXIES_REDIS_SENTINEL_USERNAME" "RINGFENCE_PROXIES_REDIS_SENTINEL_PASSWORD" -}}
{{- if has "redis" $about.uses }}{{ $taken = concat $taken $redis }}{{ end -}}
{{- if has "proxies" $about.uses }}{{ $taken = concat $taken $proxies }}{{ end -}}
{{- if has "http" $about.uses }}{{ $_ := set $needed "RINGFENCE_HTTP_TOKENS" "without a token nobody may ask `ringfence serve`" }}{{ end -}}
{{- if eq $service "ingest" }}{{ $taken = append $taken "RINGFENCE_INGEST_SFTP_PASSWORD" }}{{ end -}}
{{- if has $service (list "worker" "ingest" "http") }}{{ $taken = append $taken "RINGFENCE_SCHEMA_REGISTRY_PASSWORD" }}{{ end -}}
{{- if has $service (list "exchange" "enforcement") }}{{ $taken = append $taken "RINGFENCE_EXCHANGE_PASSPHRASE" }}{{ end -}}
{{- if eq $service "sink-webhooks" -}}
{{- range include "ringfence.webhooks" $root | fromYamlArray -}}
{{- $_ := set $needed . "it is the secret of an endpoint in config.sinks.webhooks.endpoints" -}}
{{- end -}}
{{- end -}}
{{- if eq $service "feeds" -}}
{{- $known := list "RINGFENCE_KAFKA_PASSWORD" "RINGFENCE_HTTP_TOKENS" "RINGFENCE_EXCHANGE_PASSPHRASE" "RINGFENCE_INGEST_SFTP_PASSWORD" "RINGFENCE_SCHEMA_REGISTRY_PASSWORD" -}}
{{- $known = concat $known $proxies (include "ringfence.webhooks" $root | fromYamlArray) -}}
{{- range keys $root.Values.secrets }}{{ if not (has . $known) }}{{ $taken = append $taken . }}{{ end }}{{ end -}}
{{- end -}}
{{- $found := dict -}}
{{- range $variable, $why := $needed -}}
{{- $one := get $root.Values.secrets $variable | default dict -}}
{{- if not (get $one "name") -}}
{{- fail (printf "secrets.%s.name is missing: %s, and %s needs it. Make the Secret (`kubectl create secret generic NAME --from-file=KEY=FILE`) and name it: secrets: {%s: {name: NAME, key: KEY}}" $variable $why $service $variable) -}}
{{- end -}}
{{- $_ := set $found $variable $one -}}
{{- end -}}
{{- range $variable := $taken }}{{ with get $root.Values.secrets $variable }}{{ $_ := set $found $variable . }}{{ end }}{{ end -}}
{{- toYaml $found -}}
{{- end -}}
