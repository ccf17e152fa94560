// Command schemas is a Terraform provider that knows what resources look like and
// nothing else. It stands in for hashicorp/aws, azuread and azurerm where their binaries
// cannot be had, so that `terraform validate` and `terraform test` with mock providers
// work without a network. It finds out from the name of its executable which of them it
// is. It is a schema gate, not the provider: it checks names, types and what is required,
// and refuses to plan anything.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

//go:embed *.json
var files embed.FS

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "schemas:", err)
		os.Exit(1)
	}
}

var executable = regexp.MustCompile(`^terraform-provider-(\w+?)_v`)

func run() error {
	m := executable.FindStringSubmatch(filepath.Base(os.Args[0]))
	if m == nil {
		return fmt.Errorf("%s is not named like terraform-provider-aws_v6.0.0", os.Args[0])
	}
	schemas, err := load(m[1])
	if err != nil {
		return err
	}
	return tf6server.Serve("registry.terraform.io/hashicorp/"+m[1], func() tfprotov6.ProviderServer { return provider{schemas: schemas} })
}

func load(name string) (*tfprotov6.GetProviderSchemaResponse, error) {
	text, err := files.ReadFile(name + ".json")
	if err != nil {
		return nil, err
	}
	var document struct {
		Schemas map[string]struct {
			Provider    schema            `json:"provider"`
			Resources   map[string]schema `json:"resource_schemas"`
			DataSources map[string]schema `json:"data_source_schemas"`
		} `json:"provider_schemas"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("%s.json: %w", name, err)
	}
	found, ok := document.Schemas["registry.terraform.io/hashicorp/"+name]
	if !ok {
		return nil, fmt.Errorf("%s.json holds no schema of hashicorp/%s", name, name)
	}
	out := &tfprotov6.GetProviderSchemaResponse{
		ServerCapabilities: &tfprotov6.ServerCapabilities{GetProviderSchemaOptional: true},
		Functions:          map[string]*tfprotov6.Function{},
	}
	if out.Provider, err = found.Provider.proto(); err != nil {
		return nil, fmt.Errorf("%s.json: provider: %w", name, err)
	}
	if out.ResourceSchemas, err = protos(found.Resources); err != nil {
		return nil, fmt.Errorf("%s.json: %w", name, err)
	}
	if out.DataSourceSchemas, err = protos(found.DataSources); err != nil {
		return nil, fmt.Errorf("%s.json: data: %w", name, err)
	}
	return out, nil
}

// schema and block are those of `terraform providers schema -json`.
type schema struct {
	Version int64 `json:"version"`
	Block   block `json:"block"`
}

type block struct {
	Attributes map[string]attribute `json:"attributes"`
	Blocks     map[string]struct {
		Nesting string `json:"nesting_mode"`
		Block   block  `json:"block"`
		Min     int64  `json:"min_items"`
		Max     int64  `json:"max_items"`
	} `json:"block_types"`
}

type attribute struct {
	Type      json.RawMessage `json:"type"`
	Required  bool            `json:"required"`
	Optional  bool            `json:"optional"`
	Computed  bool            `json:"computed"`
	Sensitive bool            `json:"sensitive"`
	WriteOnly bool            `json:"write_only"`
}

func protos(list map[string]schema) (map[string]*tfprotov6.Schema, error) {
	out := map[string]*tfprotov6.Schema{}
	for typ, s := range list {
		p, err := s.proto()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", typ, err)
		}
		out[typ] = p
	}
	return out, nil
}

func (s schema) proto() (*tfprotov6.Schema, error) {
	b, err := s.Block.proto()
	return &tfprotov6.Schema{Version: s.Version, Block: b}, err
}

func (b block) proto() (*tfprotov6.SchemaBlock, error) {
	out := &tfprotov6.SchemaBlock{}
	for name, a := range b.Attributes {
		if a.Type == nil {
			return nil, fmt.Errorf("attribute %s has no type", name)
		}
		typ, err := tftypes.ParseJSONType(a.Type) //nolint:staticcheck // the one reader of this format
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		out.Attributes = append(out.Attributes, &tfprotov6.SchemaAttribute{
			Name: name, Type: typ, Required: a.Required, Optional: a.Optional, Computed: a.Computed, Sensitive: a.Sensitive, WriteOnly: a.WriteOnly,
		})
	}
	for name, n := range b.Blocks {
		inner, err := n.Block.proto()
		if err != nil {
			return nil, fmt.Errorf("block %s: %w", name, err)
		}
		nesting, ok := map[string]tfprotov6.SchemaNestedBlockNestingMode{
			"single": tfprotov6.SchemaNestedBlockNestingModeSingle, "list": tfprotov6.SchemaNestedBlockNestingModeList,
			"set": tfprotov6.SchemaNestedBlockNestingModeSet, "map": tfprotov6.SchemaNestedBlockNestingModeMap, "group": tfprotov6.SchemaNestedBlockNestingModeGroup,
		}[n.Nesting]
		if !ok {
			return nil, fmt.Errorf("block %s: nesting mode %q", name, n.Nesting)
		}
		out.BlockTypes = append(out.BlockTypes, &tfprotov6.SchemaNestedBlock{TypeName: name, Block: inner, Nesting: nesting, MinItems: n.Min, MaxItems: n.Max})
	}
	return out, nil
}

// provider answers what `terraform validate` and mocked tests ask. What it does not
// override would be a call to a cloud; Terraform reports those as errors of the plugin.
type provider struct {
	tfprotov6.ProviderServer
	schemas *tfprotov6.GetProviderSchemaResponse
}

func (p provider) GetMetadata(context.Context, *tfprotov6.GetMetadataRequest) (*tfprotov6.GetMetadataResponse, error) {
	out := &tfprotov6.GetMetadataResponse{ServerCapabilities: p.schemas.ServerCapabilities}
	for typ := range p.schemas.ResourceSchemas {
		out.Resources = append(out.Resources, tfprotov6.ResourceMetadata{TypeName: typ})
	}
	for typ := range p.schemas.DataSourceSchemas {
		out.DataSources = append(out.DataSources, tfprotov6.DataSourceMetadata{TypeName: typ})
	}
	return out, nil
}

func (p provider) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	return p.schemas, nil
}

func (p provider) ValidateProviderConfig(_ context.Context, r *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: r.Config}, nil
}

func (p provider) ValidateResourceConfig(context.Context, *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{}, nil
}

func (p provider) ValidateDataResourceConfig(context.Context, *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

// UpgradeResourceState reads back what a mocked test kept, which was written with the
// same schema.
func (p provider) UpgradeResourceState(_ context.Context, r *tfprotov6.UpgradeResourceStateRequest) (*tfprotov6.UpgradeResourceStateResponse, error) {
	s, ok := p.schemas.ResourceSchemas[r.TypeName]
	if !ok {
		return nil, fmt.Errorf("no schema of %s", r.TypeName)
	}
	typ := s.ValueType()
	value, err := r.RawState.Unmarshal(typ)
	if err != nil {
		return nil, fmt.Errorf("state of %s: %w", r.TypeName, err)
	}
	state, err := tfprotov6.NewDynamicValue(typ, value)
	return &tfprotov6.UpgradeResourceStateResponse{UpgradedState: &state}, err
}

func refusal() []*tfprotov6.Diagnostic {
	return []*tfprotov6.Diagnostic{{
		Severity: tfprotov6.DiagnosticSeverityError, Summary: "This is a schema gate",
		Detail: "It knows what resources look like and cannot reach a cloud. Run terraform test with mock providers, or install the real provider.",
	}}
}

func (p provider) ConfigureProvider(context.Context, *tfprotov6.ConfigureProviderRequest) (*tfprotov6.ConfigureProviderResponse, error) {
	return &tfprotov6.ConfigureProviderResponse{Diagnostics: refusal()}, nil
}

func (p provider) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}
