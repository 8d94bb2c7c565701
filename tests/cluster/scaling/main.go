// scaling serves custom metrics of pods: what Prometheus answers to the query of one rule, which is written as the rules of the
// Prometheus adapter are. https://github.com/kubernetes-sigs/prometheus-adapter/blob/master/docs/config.md
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/template"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	"sigs.k8s.io/yaml"
)

type rule struct {
	SeriesQuery string `json:"seriesQuery"`
	Resources   struct {
		Overrides map[string]struct {
			Resource string `json:"resource"`
		} `json:"overrides"`
	} `json:"resources"`
	Name struct {
		As string `json:"as"`
	} `json:"name"`
	MetricsQuery string `json:"metricsQuery"`
}

// label is that of a series which names its object of this resource.
func (r rule) label(resource string) string {
	for label, override := range r.Resources.Overrides {
		if override.Resource == resource {
			return label
		}
	}
	panic("no label names the " + resource)
}

// query asks for these pods.
func (r rule) query(namespace string, pods []string) (string, error) {
	parsed, err := template.New("query").Delims("<<", ">>").Parse(r.MetricsQuery)
	if err != nil {
		return "", err
	}
	series, _, _ := strings.Cut(r.SeriesQuery, "{")
	matchers := fmt.Sprintf("%s=%q,%s=~%q", r.label("namespace"), namespace, r.label("pod"), strings.Join(pods, "|"))
	var query strings.Builder
	err = parsed.Execute(&query, map[string]string{"Series": series, "LabelMatchers": matchers, "GroupBy": r.label("pod")})
	return query.String(), err
}

type metrics struct {
	rule       rule
	prometheus string
	client     kubernetes.Interface
}

func (m metrics) ListAllMetrics() []provider.CustomMetricInfo {
	pods := schema.GroupResource{Resource: "pods"}
	return []provider.CustomMetricInfo{{GroupResource: pods, Namespaced: true, Metric: m.rule.Name.As}}
}

func (m metrics) GetMetricByName(ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo,
	_ labels.Selector) (*custom_metrics.MetricValue, error) {
	values, err := m.values(ctx, name.Namespace, []string{name.Name}, info)
	if err != nil {
		return nil, err
	}
	if len(values) == 0 {
		return nil, provider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name)
	}
	return &values[0], nil
}

func (m metrics) GetMetricBySelector(ctx context.Context, namespace string, selector labels.Selector,
	info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValueList, error) {
	pods, err := m.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, pod := range pods.Items {
		names = append(names, pod.Name)
	}
	values, err := m.values(ctx, namespace, names, info)
	return &custom_metrics.MetricValueList{Items: values}, err
}

// values has one of each pod that Prometheus has series of.
func (m metrics) values(ctx context.Context, namespace string, pods []string, info provider.CustomMetricInfo) (
	[]custom_metrics.MetricValue, error) {
	if info.Metric != m.rule.Name.As || info.GroupResource.Resource != "pods" {
		return nil, provider.NewMetricNotFoundError(info.GroupResource, info.Metric)
	}
	query, err := m.rule.query(namespace, pods)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, "GET", m.prometheus+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var found struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		return nil, err
	}
	if found.Error != "" {
		return nil, fmt.Errorf("%s: %s", query, found.Error)
	}
	var values []custom_metrics.MetricValue
	for _, series := range found.Data.Result {
		number, err := strconv.ParseFloat(series.Value[1].(string), 64)
		if err != nil {
			return nil, err
		}
		pod := custom_metrics.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: series.Metric[m.rule.label("pod")],
		}
		values = append(values, custom_metrics.MetricValue{
			DescribedObject: pod,
			Metric:          custom_metrics.MetricIdentifier{Name: info.Metric},
			Timestamp:       metav1.Now(),
			Value:           *resource.NewMilliQuantity(int64(number*1000), resource.DecimalSI),
		})
	}
	return values, nil
}

func main() {
	adapter := &cmd.AdapterBase{Name: "scaling"}
	config := adapter.Flags().String("config", "", "file with the rule")
	prometheus := adapter.Flags().String("prometheus-url", "", "where Prometheus answers")
	check(adapter.Flags().Parse(os.Args[1:]))
	text, err := os.ReadFile(*config)
	check(err)
	var rules struct{ Rules []rule }
	check(yaml.UnmarshalStrict(text, &rules))
	access, err := adapter.ClientConfig()
	check(err)
	client, err := kubernetes.NewForConfig(access)
	check(err)
	adapter.WithCustomMetrics(metrics{rules.Rules[0], *prometheus, client})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	check(adapter.Run(ctx))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
