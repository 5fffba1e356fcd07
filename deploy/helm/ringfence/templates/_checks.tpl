{{/* What no schema can say: values that contradict each other. Each ends the rendering with its name. */}}
{{- define "ringfence.checks" -}}
{{- range include "ringfence.owned" . | fromYamlArray -}}
{{- $at := $.Values.config -}}
{{- $parts := splitList "." . -}}
{{- range initial $parts }}{{ $at = default dict (get $at .) }}{{ end -}}
{{- if hasKey $at (last $parts) -}}
{{- fail (printf "config.%s is the chart's own: take it out%s" . (get (dict "calls.instance_id" "; each pod's name is its instance id, so that no two have one" "kafka.ca_file" "; certificates.kafka names the Secret" "redis.ca_file" "; certificates.redis names the Secret" "serve.cert_file" "; certificates.http names the Secret" "sip.cert_file" "; certificates.sip names the Secret" "sip.card.key_file" "; certificates.card names the Secret" "stir.trusted" "; certificates.stir names the Secret" "stir.certificates" "; stir.claim names the volume" "ingest.sftp.key_file" "; certificates.sftp names the Secret") .)) -}}
{{- end -}}
{{- end -}}
{{- $partitions := include "ringfence.partitions" . | int -}}
{{- $worker := .Values.worker -}}
{{- if $worker.enabled -}}
{{- $most := int $worker.replicas -}}
{{- $value := "worker.replicas" -}}
{{- if $worker.autoscaling.enabled -}}
{{- $most = max $worker.autoscaling.min $worker.autoscaling.max | int -}}
{{- $value = "worker.autoscaling.max" -}}
{{- end -}}
{{- if gt (mul $most $worker.processes | int) $partitions -}}
{{- fail (printf "%s: %d pods of %d processes are more than the %d partitions of the topics with calls, and the others would idle: lower it, or raise config.calls.partitions" $value $most (int $worker.processes) $partitions) -}}
{{- end -}}
{{- end -}}
{{- if and $worker.enabled $worker.autoscaling.enabled (include "ringfence.setting" (list . "kafka" "oauth_aws_region" "")) -}}
{{- fail "worker.autoscaling.enabled: KEDA would ask brokers that want IAM without a token; write a ScaledObject of your own (its kafka trigger has `sasl: aws_msk_iam`), or take config.kafka.oauth_aws_region out" -}}
{{- end -}}
{{- if and $worker.autoscaling.max (gt (int $worker.autoscaling.min) (int $worker.autoscaling.max)) -}}
{{- fail (printf "worker.autoscaling.min: %d is more than max (%d)" (int $worker.autoscaling.min) (int $worker.autoscaling.max)) -}}
{{- end -}}
{{- range $section, $key := dict "kafka" "bootstrap_servers" "redis" "url" -}}
{{- if not (get (default dict (get $.Values.config $section)) $key) -}}
{{- fail (printf "config.%s.%s is missing: where %s is" $section $key (title $section)) -}}
{{- end -}}
{{- end -}}
{{- $strimzi := .Values.strimzi -}}
{{- if and (or $strimzi.topics $strimzi.users) (not $strimzi.cluster) -}}
{{- fail "strimzi.cluster is missing: the name of the Kafka (`kubectl get kafka`) that topics and users are for" -}}
{{- end -}}
{{- if $strimzi.users -}}
{{- $protocol := include "ringfence.setting" (list . "kafka" "security_protocol" "PLAINTEXT") -}}
{{- $wanted := ternary "SSL" "SASL_SSL or SASL_PLAINTEXT" (eq $strimzi.authentication "tls") -}}
{{- if ne (include "ringfence.sasl" .) (ternary "" "true" (eq $strimzi.authentication "tls")) -}}
{{- fail (printf "config.kafka.security_protocol: strimzi.authentication %s needs %s, not %s" $strimzi.authentication $wanted $protocol) -}}
{{- end -}}
{{- if and (eq $strimzi.authentication "tls") (ne $protocol "SSL") -}}
{{- fail (printf "config.kafka.security_protocol: strimzi.authentication tls needs SSL, not %s" $protocol) -}}
{{- end -}}
{{- if and (eq $strimzi.authentication "scram-sha-512") (ne (include "ringfence.setting" (list . "kafka" "sasl_mechanism" "PLAIN")) "SCRAM-SHA-512") -}}
{{- fail "config.kafka.sasl_mechanism: strimzi.authentication scram-sha-512 needs SCRAM-SHA-512" -}}
{{- end -}}
{{- if get (default dict (get .Values.config "kafka")) "sasl_username" -}}
{{- fail "config.kafka.sasl_username: with strimzi.users each service has a name of its own; take it out" -}}
{{- end -}}
{{- else if and (include "ringfence.sasl" .) (not (get .Values.config.kafka "sasl_username")) -}}
{{- fail (printf "config.kafka.sasl_username is missing: security_protocol %s asks for one" .Values.config.kafka.security_protocol) -}}
{{- end -}}
{{- if and .Values.feeds.enabled (not .Values.feeds.files) -}}
{{- fail "feeds.files is empty: name a feed file (examples are in config/feeds), e.g. feeds: {files: {kh.toml: \"...\"}}" -}}
{{- end -}}
{{- if .Values.ingest.enabled -}}
{{- range ternary (list "dialect") (list "claim" "path" "dialect") (ne .Values.ingest.url "") -}}
{{- if not (get $.Values.ingest .) }}{{ fail (printf "ingest.%s is missing: ingest.enabled needs dialect, and claim and path or url" .) }}{{ end -}}
{{- end -}}
{{- if and .Values.ingest.url (or .Values.ingest.claim .Values.ingest.path) -}}
{{- fail "ingest.url: records come from there or from a volume: take url out, or claim and path" -}}
{{- end -}}
{{- if and (hasPrefix "sftp:" .Values.ingest.url) (not (get (default dict (get (default dict (get .Values.config "ingest")) "sftp")) "host_keys")) -}}
{{- fail "config.ingest.sftp.host_keys is missing: ingest.url names a server, and its key says that it is the right one (`ssh-keyscan HOST`)" -}}
{{- end -}}
{{- end -}}
{{- if and (index .Values "sink-webhooks").enabled (not (include "ringfence.webhooks" . | fromYamlArray)) -}}
{{- fail "config.sinks.webhooks.endpoints is empty: sink-webhooks.enabled needs one" -}}
{{- end -}}
{{- range $use, $one := .Values.certificates -}}
{{- if and (or (get $one "ca") (and (not (has $use (list "http" "sip" "card"))) (get $one "cert"))) (not $one.secret) -}}
{{- fail (printf "certificates.%s.secret is missing: its keys are named, and no Secret that has them" $use) -}}
{{- end -}}
{{- end -}}
{{- $taken := list -}}
{{- range $_, $names := include "ringfence.workloads" . | fromYaml -}}
{{- range $names }}{{ $taken = concat $taken (include "ringfence.secrets" (list $ .) | fromYaml | keys) }}{{ end -}}
{{- end -}}
{{- if .Values.topics.job }}{{ $taken = concat $taken (include "ringfence.secrets" (list . "topics") | fromYaml | keys) }}{{ end -}}
{{- range $variable, $one := .Values.secrets -}}
{{- if not $one.name -}}
{{- fail (printf "secrets.%s.name is missing: the name of the Secret with it" $variable) -}}
{{- end -}}
{{- if not (has $variable $taken) -}}
{{- fail (printf "secrets.%s: no service that is enabled takes it: is the name right?" $variable) -}}
{{- end -}}
{{- end -}}
{{- end -}}
