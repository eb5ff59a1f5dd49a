{{- /* The release's own names and labels. */ -}}

{{- define "cloudia.name" -}}
{{- $name := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- trunc 50 $name | trimSuffix "-" }}
{{- end }}

{{- define "cloudia.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "cloudia.labels" -}}
{{ include "cloudia.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "cloudia.secret" -}}
{{- if .Values.secrets.external.store }}{{ include "cloudia.name" . }}{{ else }}{{ .Values.secrets.existingSecret }}{{ end }}
{{- end }}

{{- /* What worker and gateway have in common. Takes root, part and own, the values of the part. */ -}}
{{- define "cloudia.pod" -}}
{{- $name := include "cloudia.name" .root }}
metadata:
  labels:
    {{- include "cloudia.labels" . | nindent 4 }}
  annotations:
    # A change of the settings begins new pods.
    checksum/settings: {{ include (print .root.Template.BasePath "/settings.yaml") .root | sha256sum }}
    {{- with .own.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ $name }}-{{ .part }}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ .stopSeconds }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    seccompProfile: {type: RuntimeDefault}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{ include "cloudia.selector" . | nindent 10 }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{ include "cloudia.selector" . | nindent 10 }}
  {{- with .own.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .own.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .own.affinity }}
  affinity: {{ toYaml . | nindent 4 }}
  {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
  containers:
    - name: {{ .part }}
      image: {{ required "image.repository: where the image is that was built from the Dockerfile" .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: [cloudia.{{ .part }}]
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      envFrom:
        - configMapRef: {name: {{ $name }}}
        {{- with include "cloudia.secret" .root }}
        - secretRef: {name: {{ . }}}
        {{- end }}
      {{- with .root.Values.extraEnv }}
      env: {{ toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
      resources: {{ toYaml .own.resources | nindent 8 }}
{{- end }}

{{- define "cloudia.disruptions" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "cloudia.name" .root }}-{{ .part }}
  labels:
    {{- include "cloudia.labels" . | nindent 4 }}
spec:
  selector:
    matchLabels:
      {{- include "cloudia.selector" . | nindent 6 }}
  {{- toYaml .own.disruptionBudget | nindent 2 }}
{{- end }}

{{- define "cloudia.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "cloudia.name" .root }}-{{ .part }}
  labels:
    {{- include "cloudia.labels" . | nindent 4 }}
  {{- with .own.serviceAccount.annotations }}
  annotations: {{ toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
