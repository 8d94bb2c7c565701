// What scaling and metrics-server take besides Kubernetes' own modules, which are those of ../go.mod: see scaling() in ../../services.
module featurestore.dev/tests/cluster/scaling

go 1.24.0

require (
	github.com/grafana/regexp v0.0.0-20240518133315-a468a5bfb3bc
	github.com/prometheus/prometheus v0.304.2
	sigs.k8s.io/custom-metrics-apiserver v1.34.0
	sigs.k8s.io/metrics-server v0.8.0
)
