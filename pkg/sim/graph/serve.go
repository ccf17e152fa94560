package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Serve runs the simulator alone until ctx ends. Its first lines on stdout tell clients
// where it is; credentials of the app registrations are at GRAPH_URL/sim/apps. Without
// Options.CAFile the certificate goes to a temporary file that is removed at the end.
func Serve(ctx context.Context, o Options, stdout io.Writer) (err error) {
	if o.CAFile == "" {
		dir, err := os.MkdirTemp("", "mfaflow-graph-")
		if err != nil {
			return fmt.Errorf("graph simulator: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		o.CAFile = filepath.Join(dir, "ca.pem")
	}
	s, err := Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, err := fmt.Fprintf(stdout, "GRAPH_URL=%s\nGRAPH_AUTHORITY_URL=%s\nGRAPH_CA_FILE=%s\nGRAPH_TENANT_ID=%s\n",
		s.URL(), s.AuthorityURL(), o.CAFile, s.TenantID()); err != nil {
		return fmt.Errorf("graph simulator: %w", err)
	}
	<-ctx.Done()
	return nil
}
