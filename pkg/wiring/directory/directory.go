// Package directory is how the mains that need Microsoft Graph open it. It is apart
// from package wiring, so that functions without Graph do not link its SDK.
package directory

import (
	"mfaflow/pkg/config"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/wiring"
)

// Open makes the client of the function's app registration, which counts what Graph
// answers. It does no network.
func Open(a config.App, d config.Directory, metrics *telemetry.Metrics) (*graph.Client, error) {
	credential, err := wiring.Credential(a)
	if err != nil {
		return nil, err
	}
	return graph.New(graph.Options{Credential: credential, BaseURL: d.GraphURL, Budget: Budget(d), Answers: metrics.Answers()})
}

// Budget is what the settings allow.
func Budget(d config.Directory) graph.Budget {
	var budget graph.Budget
	if d.GraphBudget == config.BudgetDocumented {
		budget = graph.DocumentedBudget()
	}
	budget.Workers = d.GraphWorkers
	return budget
}
