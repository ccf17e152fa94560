package identity

import "context"

type urgentKey struct{}

// Urgent returns a context whose requests to the directory go before those of others
// when the request budget is short. It is for shutting people out: leavers and
// compromised accounts.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

// IsUrgent reports whether ctx comes from Urgent.
func IsUrgent(ctx context.Context) bool {
	urgent, _ := ctx.Value(urgentKey{}).(bool)
	return urgent
}
