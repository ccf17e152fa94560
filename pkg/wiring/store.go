package wiring

import (
	"mfaflow/pkg/awsrole"
	"mfaflow/pkg/config"
	"mfaflow/pkg/files"
	"mfaflow/pkg/policy"
)

// Store is where files are kept. It does no network.
func Store(u config.ReportsURL) (policy.Store, error) {
	bucket, prefix, ok := u.Bucket()
	if !ok {
		folder, _ := u.Folder()
		return files.Folder(folder), nil
	}
	role, err := awsrole.FromEnvironment(config.Runtime, nil)
	if err != nil {
		return nil, err
	}
	return role.Bucket(bucket, prefix), nil
}
