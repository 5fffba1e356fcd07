{{/* Names, labels, and the table of services. */}}

{{- define "ringfence.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $both := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full := default $both .Values.fullnameOverride -}}
{{- /* Pods carry <this>-sink-webhooks-<hash of 10> as a label, which Kubernetes limits to 63. Cut names could meet. */ -}}
{{- if gt (len $full) 38 -}}
{{- fail (printf "fullnameOverride: %q has %d letters, and names of pods leave room for 38: set a shorter one" $full (len $full)) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{/* One object of a service: (list $ "worker"). */}}
{{- define "ringfence.name" -}}
{{- printf "%s-%s" (include "ringfence.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{/* The headless Service that gives each pod its name and is scraped. */}}
{{- define "ringfence.podsname" -}}
{{- printf "%s-pods" (include "ringfence.name" .) -}}
{{- end -}}

{{- define "ringfence.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "ringfence.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_") }}
{{ include "ringfence.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: ringfence
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end -}}

{{- define "ringfence.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/* The table of files/services.yaml, as YAML. */}}
{{- define "ringfence.services" -}}
{{ .Files.Get "files/services.yaml" }}
{{- end -}}

{{/* StatefulSets that are on, with the services in the pod of each: `{worker: [worker], exchange: [exchange, enforcement]}`. */}}
{{- define "ringfence.workloads" -}}
{{- $found := dict -}}
{{- range $name := list "worker" "http" "sip" "feeds" "sink-redis" "sink-webhooks" "ingest" -}}
{{- if (index $.Values $name).enabled -}}{{- $_ := set $found $name (list $name) -}}{{- end -}}
{{- end -}}
{{- /* Both write the repository, one after the other, under a lock of one machine's file system. */ -}}
{{- $publishing := list -}}
{{- range list "exchange" "enforcement" -}}
{{- if (index $.Values .).enabled -}}{{- $publishing = append $publishing . -}}{{- end -}}
{{- end -}}
{{- if $publishing -}}{{- $_ := set $found "exchange" $publishing -}}{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/* The name of a service's port of health pages; the exchange's pod has two. */}}
{{- define "ringfence.portname" -}}
{{- ternary "enforcement" "health" (eq . "enforcement") -}}
{{- end -}}

{{/* A setting, or its default: (list $ "ops" "shutdown_s" 20). Defaults are those of default.toml; a test compares them. */}}
{{- define "ringfence.setting" -}}
{{- $section := default dict (get (index . 0).Values.config (index . 1)) -}}
{{- $value := get $section (index . 2) -}}
{{- if or (kindIs "invalid" $value) (and (kindIs "string" $value) (eq $value "") (not (hasKey $section (index . 2)))) -}}
{{- $value = index . 3 -}}
{{- end -}}
{{- if kindIs "string" $value }}{{ $value }}{{ else }}{{ toJson $value }}{{ end -}}
{{- end -}}

{{/* Topics with calls, as a YAML list. */}}
{{- define "ringfence.calls" -}}
{{- $calls := default dict (get .Values.config "calls") -}}
{{- keys (default (dict "calls" "ringfence") (get $calls "topics")) | sortAlpha | toYaml -}}
{{- end -}}

{{/* Partitions of all topics with calls: so many workers have something to do. */}}
{{- define "ringfence.partitions" -}}
{{- mul (len (include "ringfence.calls" . | fromYamlArray)) (include "ringfence.setting" (list . "calls" "partitions" 12) | int) -}}
{{- end -}}

{{/* Host and port of the Redis URL in a section, or of brokers: the ports, as a YAML list of numbers. */}}
{{- define "ringfence.ports" -}}
{{- $found := list -}}
{{- range splitList "," . -}}
{{- $port := regexFind ":[0-9]+(/|$)" (trim .) | trimPrefix ":" | trimSuffix "/" -}}
{{- if $port }}{{ $found = append $found (int $port) }}{{ end -}}
{{- end -}}
{{- $found | uniq | toYaml -}}
{{- end -}}
