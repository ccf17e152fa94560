package archtest

// Layer is a set of folders and the layers that it may import besides itself.
type Layer struct {
	Name    string
	Folders []string
	Imports []string
	// Strangers is true when the folders of the layer may not import one another.
	Strangers bool
}

// Owner says which folders may import another module's packages.
type Owner struct {
	// Imported is the beginning of the import paths.
	Imported string
	Folders  []string
	// TestsToo binds tests as well. Otherwise they are free.
	TestsToo bool
	// TestsOnly is for modules that only tests may use, wherever they are.
	TestsOnly bool
}

// Ban forbids a folder to reach an import path, directly or through our packages.
type Ban struct {
	From     string
	Imported string
	// Exact bans the path alone, not what lies under it.
	Exact bool
	Why   string
}

// Rules are the dependency rules of a module.
type Rules struct {
	Layers []Layer
	Owners []Owner
	Bans   []Ban
}

// Ours are the rules of this module: functions -> adapters -> application -> domain.
func Ours() Rules {
	return Rules{
		Layers: []Layer{
			{Name: "catalogue", Folders: []string{"events"}},
			{
				Name: "domain",
				Folders: []string{
					"pkg/correlation", "pkg/event", "pkg/flag", "pkg/identity", "pkg/ledger", "pkg/pause", "pkg/plan", "pkg/posture", "pkg/queue", "pkg/schema", "pkg/strictjson",
				},
			},
			{
				Name: "application",
				Folders: []string{
					"pkg/audit", "pkg/breaker", "pkg/catalog", "pkg/change", "pkg/clientstate", "pkg/doctor", "pkg/inbound", "pkg/ingest", "pkg/lane", "pkg/mapping", "pkg/notify", "pkg/operate", "pkg/policy", "pkg/readiness", "pkg/router", "pkg/runbook", "pkg/secevent", "pkg/sweep", "pkg/telemetry", "pkg/webhook", "pkg/worker",
				},
				Imports: []string{"catalogue", "domain"},
			},
			{
				Name:      "adapter",
				Folders:   []string{"pkg/awsrole", "pkg/awssign", "pkg/azauth", "pkg/config", "pkg/files", "pkg/graph", "pkg/handover", "pkg/hrapi", "pkg/jwks", "pkg/lambdafn", "pkg/operateapi", "pkg/servicebus", "pkg/setpoll", "pkg/signin"},
				Imports:   []string{"domain", "application"},
				Strangers: true,
			},
			{
				Name:    "wiring",
				Folders: []string{"pkg/wiring"},
				Imports: []string{"domain", "application", "adapter"},
			},
			{
				Name:      "function",
				Folders:   []string{"functions/*"},
				Imports:   []string{"domain", "application", "adapter", "wiring"},
				Strangers: true,
			},
			// A simulator follows the real service, so it knows nothing of ours.
			{Name: "simulator", Folders: []string{"pkg/sim"}, Imports: []string{"catalogue"}},
			{
				Name:    "tool",
				Folders: []string{"pkg/archtest", "pkg/bench", "pkg/bootstrap", "pkg/cli", "pkg/cmd/*", "pkg/console", "pkg/flow", "pkg/infratest", "pkg/packaging", "pkg/simulation", "pkg/stack"},
				Imports: []string{"catalogue", "domain", "application", "adapter", "simulator"},
			},
		},
		Owners: []Owner{
			{Imported: "github.com/microsoftgraph/", Folders: []string{"pkg/graph"}, TestsToo: true},
			{Imported: "github.com/microsoft/kiota-", Folders: []string{"pkg/graph"}, TestsToo: true},
			{Imported: "github.com/Azure/azure-sdk-for-go/sdk/azcore", Folders: []string{"pkg/azauth", "pkg/graph", "pkg/servicebus", "pkg/wiring"}},
			{Imported: "github.com/Azure/azure-sdk-for-go/sdk/azidentity", Folders: []string{"pkg/azauth"}},
			{Imported: "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus", Folders: []string{"pkg/servicebus"}},
			{Imported: "github.com/Azure/go-amqp", Folders: []string{"pkg/servicebus"}},
			{Imported: "github.com/aws/aws-lambda-go", Folders: []string{"pkg/lambdafn"}},
			{Imported: "github.com/aws/aws-sdk-go-v2", Folders: []string{"pkg/awsrole", "pkg/awssign"}, TestsToo: true},
			{Imported: "github.com/aws/smithy-go", Folders: []string{"pkg/awssign"}, TestsToo: true},
			{Imported: "github.com/coreos/go-oidc/v3", Folders: []string{"pkg/signin"}, TestsToo: true},
			{Imported: "github.com/go-jose/go-jose/v4", Folders: []string{"pkg/secevent"}},
			{Imported: "github.com/goccy/go-yaml", Folders: []string{"pkg/policy"}},
			{Imported: "github.com/google/uuid", Folders: []string{"pkg/graph", "pkg/sim/lambda", "pkg/sim/servicebus"}},
			{Imported: "github.com/itchyny/gojq", Folders: []string{"pkg/mapping"}},
			{Imported: "github.com/kelseyhightower/envconfig", Folders: []string{"pkg/config"}},
			{Imported: "github.com/santhosh-tekuri/jsonschema/v6", TestsOnly: true},
			{Imported: "github.com/spf13/cobra", Folders: []string{"pkg/cli"}},
			{Imported: "golang.org/x/oauth2", Folders: []string{"pkg/signin"}, TestsToo: true},
			{Imported: "golang.org/x/sync", Folders: []string{"pkg/graph"}},
			{Imported: "golang.org/x/sys", Folders: []string{"pkg/cli"}},
			{Imported: "github.com/chromedp/", TestsOnly: true},
			{Imported: "github.com/google/go-cmp", TestsOnly: true},
			{Imported: "github.com/hashicorp/hcl/v2", TestsOnly: true},
			{Imported: "github.com/zclconf/go-cty", TestsOnly: true},
			{Imported: "github.com/standard-webhooks/standard-webhooks", TestsOnly: true},
			{Imported: "go.uber.org/goleak", TestsOnly: true},
			{Imported: "pgregory.net/rapid", TestsOnly: true},
		},
		Bans: []Ban{
			{From: "pkg/graph", Imported: "github.com/microsoftgraph/msgraph-sdk-go", Exact: true,
				Why: "the root package of the SDK more than doubles a cold build"},
			{From: "functions/hr-events", Imported: "github.com/microsoftgraph/",
				Why: "what faces the internet needs no Graph, builds in seconds and stays small"},
			{From: "functions/hr-events", Imported: "github.com/microsoft/kiota-",
				Why: "what faces the internet needs no Graph, builds in seconds and stays small"},
			{From: "functions/graph-notifications", Imported: "github.com/microsoftgraph/",
				Why: "what faces the internet needs no Graph, builds in seconds and stays small"},
			{From: "functions/graph-notifications", Imported: "github.com/microsoft/kiota-",
				Why: "what faces the internet needs no Graph, builds in seconds and stays small"},
			{From: "functions/risk-signals", Imported: "github.com/microsoftgraph/",
				Why: "what faces the internet needs no Graph, builds in seconds and stays small"},
			{From: "functions/risk-signals", Imported: "github.com/microsoft/kiota-",
				Why: "what faces the internet needs no Graph, builds in seconds and stays small"},
			{From: "functions", Imported: "testing", Why: "a test double in production is a bug"},
			{From: "functions", Imported: "net/http/httptest", Why: "a test double in production is a bug"},
			{From: "functions", Imported: "mfaflow/pkg/sim/", Why: "a simulator in production is a bug"},
			{From: "functions", Imported: "github.com/aws/aws-sdk-go-v2/config", Why: "a function has the credentials that Lambda gives it; only the tool signs as a person"},
			{From: "functions", Imported: "github.com/aws/aws-sdk-go-v2/service/", Why: "a client of AWS for one call makes what faces the internet a quarter larger"},
			// The tool asks the tenant itself how it is, with the Graph SDK, and Azure how queues are
			// configured. Messages it reaches through event-replay only.
			{From: "pkg/cmd/mfaflow", Imported: "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus", Exact: true,
				Why: "operators reach messages through event-replay, which knows who they are"},
			{From: "pkg/servicebus/management", Imported: "mfaflow/pkg/servicebus", Exact: true,
				Why: "whoever looks at queues cannot move a message"},
		},
	}
}
