package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Who may operate is said in one way, and a token is for this machine only.
func TestOperators(t *testing.T) {
	for name, c := range map[string]struct {
		settings EventReplay
		want     []string
	}{
		"nobody":             {EventReplay{Listen: "127.0.0.1:0"}, []string{"MFAFLOW_OPERATOR_ROLES"}},
		"roles":              {EventReplay{Listen: "0.0.0.0:80", OperatorRoles: []string{"arn"}}, nil},
		"token":              {EventReplay{Listen: "[::1]:0", OperatorTokenFile: "t"}, nil},
		"listed":             {EventReplay{Listen: "0.0.0.0:80", NamedOperators: Operators{"arn": {"sub": "ada"}}}, nil},
		"listed and token":   {EventReplay{Listen: "127.0.0.1:0", NamedOperators: Operators{"arn": {"sub": "ada"}}, OperatorTokenFile: "t"}, []string{"MFAFLOW_OPERATOR_TOKEN_FILE"}},
		"both":               {EventReplay{Listen: "127.0.0.1:0", OperatorRoles: []string{"arn"}, OperatorTokenFile: "t"}, []string{"MFAFLOW_OPERATOR_TOKEN_FILE"}},
		"token for everyone": {EventReplay{Listen: "0.0.0.0:0", OperatorTokenFile: "t"}, []string{"MFAFLOW_LISTEN"}},
		"token by a name":    {EventReplay{Listen: "localhost:0", OperatorTokenFile: "t"}, []string{"MFAFLOW_LISTEN"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range c.settings.problems() {
				switch p.Variable {
				case "MFAFLOW_OPERATOR_ROLES", "MFAFLOW_OPERATOR_TOKEN_FILE", "MFAFLOW_LISTEN":
					got = append(got, p.Variable)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
