package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"

	"mfaflow/pkg/change"
	"mfaflow/pkg/clientstate"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/sweep"
)

// notifiedTenant is the tenant that the notifications are about.
const notifiedTenant = "84bd8158-6d4d-4958-8b9f-9d6445542f95"

// notificationLatency posts change notifications, each about somebody else.
func notificationLatency(ctx context.Context, bin Bin) ([]Figure, error) {
	key := base64.StdEncoding.EncodeToString([]byte(signingKey)[:32])
	keys, err := clientstate.NewKeys([]clientstate.Key{{ID: "bench", Secret: identity.NewSecret(key)}})
	if err != nil {
		return nil, err
	}
	slot := change.Slots()[0]
	state, err := keys.Make(notifiedTenant, slot.Name)
	if err != nil {
		return nil, err
	}
	m, err := traffic{
		function: "graph-notifications", origin: sweep.Graph,
		env: []string{"MFAFLOW_TENANT_ID=" + notifiedTenant, "MFAFLOW_CLIENT_STATE_KEYS=bench:" + key},
		request: func(ctx context.Context, address, _, id string) (*http.Request, error) {
			who := fnv.New64a()
			_, _ = who.Write([]byte(id)) // never fails
			user := fmt.Sprintf("50000000-0000-4000-8000-%012x", who.Sum64()>>16)
			body, err := json.Marshal(map[string]any{"value": []any{map[string]any{
				"id": id, "subscriptionId": "7f105c7d-2dc5-4530-97cd-4e7ae6534c07", "tenantId": notifiedTenant, "clientState": state.Reveal(),
				"changeType": "updated", "resource": "Users/" + user, "resourceData": map[string]any{"@odata.type": "#Microsoft.Graph.User", "id": user},
			}}})
			if err != nil {
				return nil, err
			}
			return http.NewRequestWithContext(ctx, http.MethodPost, address+change.NotificationPath, bytes.NewReader(body))
		},
	}.run(ctx, bin)
	if err != nil {
		return nil, err
	}
	return m.figures(""), nil
}
