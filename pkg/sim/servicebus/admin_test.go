package servicebus_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus/admin"
	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/servicebus"
)

// overHTTP sends the admin client's requests to the simulator: the client itself only
// knows HTTPS and the address of AMQP.
type overHTTP struct{ host string }

func (o overHTTP) Do(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host, r.Host = "http", o.host, o.host
	r.Close = true
	return http.DefaultTransport.RoundTrip(r)
}

func adminClient(t testing.TB, s *servicebus.Server) *admin.Client {
	t.Helper()
	u, err := url.Parse(s.AdminURL())
	must(t, err)
	c, err := admin.NewClientFromConnectionString(s.ConnectionString(), &admin.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: overHTTP{u.Host}, Retry: policy.RetryOptions{MaxRetries: -1}}})
	must(t, err)
	return c
}

func wantStatus(t testing.TB, err error, status int, contains string) {
	t.Helper()
	var e *azcore.ResponseError
	if !errors.As(err, &e) || e.StatusCode != status || !strings.Contains(e.Error(), contains) {
		t.Fatalf("error %v, want status %d with %q", err, status, contains)
	}
}

func TestAdminLifecycle(t *testing.T) {
	s := keyed(t)
	a := adminClient(t, s)
	properties := admin.QueueProperties{
		LockDuration: new("PT45S"), MaxSizeInMegabytes: new(int32(2048)), RequiresDuplicateDetection: new(true), RequiresSession: new(true),
		DefaultMessageTimeToLive: new("P14DT30M"), DeadLetteringOnMessageExpiration: new(true), DuplicateDetectionHistoryTimeWindow: new("P7D"),
		MaxDeliveryCount: new(int32(5)), EnableBatchedOperations: new(false), Status: new(admin.EntityStatusSendDisabled),
		AutoDeleteOnIdle: new("PT10M"), EnablePartitioning: new(false), UserMetadata: new("a <note> & more"), MaxMessageSizeInKilobytes: new(int64(256)),
	}
	created, err := a.CreateQueue(ctx(t), "team/New.Queue", &admin.CreateQueueOptions{Properties: &properties})
	must(t, err)
	if diff := cmp.Diff(properties, created.QueueProperties); diff != "" {
		t.Errorf("created (-asked +got):\n%s", diff)
	}
	_, err = a.CreateQueue(ctx(t), "team/new.queue", nil)
	wantStatus(t, err, http.StatusConflict, "already exists")

	got, err := a.GetQueue(ctx(t), "team/New.Queue", nil)
	must(t, err)
	if diff := cmp.Diff(properties, got.QueueProperties); diff != "" {
		t.Errorf("got (-asked +got):\n%s", diff)
	}

	properties.MaxDeliveryCount, properties.Status = new(int32(7)), new(admin.EntityStatusActive)
	updated, err := a.UpdateQueue(ctx(t), "team/New.Queue", properties, nil)
	must(t, err)
	if diff := cmp.Diff(properties, updated.QueueProperties); diff != "" {
		t.Errorf("updated (-asked +got):\n%s", diff)
	}
	properties.RequiresSession = new(false)
	_, err = a.UpdateQueue(ctx(t), "team/New.Queue", properties, nil)
	wantStatus(t, err, http.StatusBadRequest, "RequiresSession")

	_, err = a.DeleteQueue(ctx(t), "team/New.Queue", nil)
	must(t, err)
	_, err = a.DeleteQueue(ctx(t), "team/New.Queue", nil)
	wantStatus(t, err, http.StatusNotFound, "")
	if got, err := a.GetQueue(ctx(t), "team/New.Queue", nil); got != nil || err != nil {
		t.Errorf("a deleted queue: %v, %v", got, err)
	}
	_, err = a.UpdateQueue(ctx(t), "team/New.Queue", properties, nil)
	wantStatus(t, err, http.StatusNotFound, "")
}

func TestAdminDefaults(t *testing.T) {
	a := adminClient(t, keyed(t))
	created, err := a.CreateQueue(ctx(t), "plain", nil)
	must(t, err)
	const endless = "P10675199DT2H48M5.4775807S"
	want := admin.QueueProperties{
		LockDuration: new("PT1M"), MaxSizeInMegabytes: new(int32(1024)), RequiresDuplicateDetection: new(false), RequiresSession: new(false),
		DefaultMessageTimeToLive: new(endless), DeadLetteringOnMessageExpiration: new(false), DuplicateDetectionHistoryTimeWindow: new("PT10M"),
		MaxDeliveryCount: new(int32(10)), EnableBatchedOperations: new(true), Status: new(admin.EntityStatusActive),
		AutoDeleteOnIdle: new(endless), EnablePartitioning: new(false), MaxMessageSizeInKilobytes: new(int64(256)),
	}
	if diff := cmp.Diff(want, created.QueueProperties); diff != "" {
		t.Error(diff)
	}
}

func TestAdminRefusals(t *testing.T) {
	a := adminClient(t, keyed(t))
	for name, tc := range map[string]struct {
		queue      string
		properties admin.QueueProperties
		contains   string
	}{
		"lock too long":    {"x", admin.QueueProperties{LockDuration: new("PT6M")}, "lock duration"},
		"not a duration":   {"x", admin.QueueProperties{LockDuration: new("6 minutes")}, "ISO 8601"},
		"zero duration":    {"x", admin.QueueProperties{DefaultMessageTimeToLive: new("PT0S")}, "not positive"},
		"delivery count":   {"x", admin.QueueProperties{MaxDeliveryCount: new(int32(2001))}, "max delivery count"},
		"detection window": {"x", admin.QueueProperties{RequiresDuplicateDetection: new(true), DuplicateDetectionHistoryTimeWindow: new("P8D")}, "window"},
		"name":             {"a b", admin.QueueProperties{}, "queue name"},
		"status":           {"x", admin.QueueProperties{Status: new(admin.EntityStatus("Asleep"))}, "status"},
		"forwarding":       {"x", admin.QueueProperties{ForwardTo: new("y")}, "forwarding"},
		"premium message":  {"x", admin.QueueProperties{MaxMessageSizeInKilobytes: new(int64(102400))}, "MaxMessageSizeInKilobytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.CreateQueue(ctx(t), url.PathEscape(tc.queue), &admin.CreateQueueOptions{Properties: &tc.properties})
			wantStatus(t, err, http.StatusBadRequest, tc.contains)
		})
	}
	_, err := a.CreateTopic(ctx(t), "topic", nil)
	wantStatus(t, err, http.StatusBadRequest, "topics")
}

func TestAdminLists(t *testing.T) {
	s := start(t, servicebus.Options{Queues: []servicebus.QueueConfig{{Name: "b"}, {Name: "a"}, {Name: "d"}, {Name: "C"}, {Name: "e"}}})
	a := adminClient(t, s)
	var names []string
	pages := 0
	for p := a.NewListQueuesPager(&admin.ListQueuesOptions{MaxPageSize: 2}); p.More(); pages++ {
		page, err := p.NextPage(ctx(t))
		must(t, err)
		for _, q := range page.Queues {
			names = append(names, q.QueueName)
		}
	}
	if diff := cmp.Diff([]string{"a", "b", "C", "d", "e"}, names); diff != "" || pages != 3 {
		t.Errorf("%d pages, %s", pages, diff)
	}
	topics := a.NewListTopicsPager(nil)
	page, err := topics.NextPage(ctx(t))
	if err != nil || len(page.Topics) != 0 {
		t.Errorf("topics %v, err %v", page.Topics, err)
	}
}

func TestAdminRuntimeCounts(t *testing.T) {
	s, c, now := plain(t, nil)
	a := adminClient(t, s)
	got, err := a.GetQueueRuntimeProperties(ctx(t), "q", nil)
	must(t, err)
	if !got.CreatedAt.Equal(t0) || !got.AccessedAt.IsZero() || got.SizeInBytes != 0 {
		t.Errorf("at first %+v", got)
	}
	now.Advance(time.Minute)
	snd := sender(t, c, "q")
	for range 4 {
		send(t, snd, text("x"))
	}
	send(t, snd, &azservicebus.Message{ScheduledEnqueueTime: new(t0.Add(time.Hour))})
	r := receiver(t, c, "q")
	m := receive(t, r, 3)
	must(t, r.DeferMessage(ctx(t), m[0], nil))
	must(t, r.DeadLetterMessage(ctx(t), m[1], nil))
	got, err = a.GetQueueRuntimeProperties(ctx(t), "q", nil)
	must(t, err)
	if got.ActiveMessageCount != 3 || got.DeadLetterMessageCount != 1 || got.ScheduledMessageCount != 1 || got.TotalMessageCount != 5 || got.SizeInBytes == 0 {
		t.Errorf("counts %+v", got.QueueRuntimeProperties)
	}
	if !got.AccessedAt.Equal(t0.Add(time.Minute)) {
		t.Errorf("accessed %v", got.AccessedAt)
	}
	namespace, err := a.GetNamespaceProperties(ctx(t), nil)
	if err != nil || namespace.SKU != "Standard" || namespace.Name == "" || !namespace.CreatedTime.Equal(t0) {
		t.Errorf("namespace %+v, err %v", namespace, err)
	}
}

func TestStatusShutsClientsOut(t *testing.T) {
	for _, tc := range []struct {
		status        admin.EntityStatus
		send, receive bool
	}{
		{admin.EntityStatusDisabled, false, false}, {admin.EntityStatusSendDisabled, false, true},
		{admin.EntityStatusReceiveDisabled, true, false}, {admin.EntityStatusActive, true, true},
	} {
		t.Run(string(tc.status), func(t *testing.T) {
			s, c, _ := plain(t, nil)
			snd, r := sender(t, c, "q"), receiver(t, c, "q")
			for range 3 {
				send(t, snd, text("before"))
			}
			receiveOne(t, r)
			a := adminClient(t, s)
			q, err := a.GetQueue(ctx(t), "q", nil)
			must(t, err)
			q.Status = &tc.status
			_, err = a.UpdateQueue(ctx(t), "q", q.QueueProperties, nil)
			must(t, err)

			check := func(what string, err error, allowed bool) {
				t.Helper()
				if allowed {
					if err != nil {
						t.Errorf("%s: %v", what, err)
					}
					return
				}
				wantCondition(t, err, "com.microsoft:entity-disabled")
			}
			check("open sender", snd.SendMessage(ctx(t), text("x"), nil), tc.send)
			check("new sender", sender(t, c, "q").SendMessage(ctx(t), text("x"), nil), tc.send)
			_, err = receiver(t, c, "q").ReceiveMessages(ctx(t), 1, nil)
			check("new receiver", err, tc.receive)
		})
	}
}

func TestDeletingAQueueTurnsClientsOut(t *testing.T) {
	s, c, _ := plain(t, nil)
	snd, r := sender(t, c, "q"), receiver(t, c, "q")
	send(t, snd, text("x"))
	receiveOne(t, r)
	_, err := adminClient(t, s).DeleteQueue(ctx(t), "q", nil)
	must(t, err)
	wantAny(t, snd.SendMessage(ctx(t), text("x"), nil))
	_, err = r.ReceiveMessages(ctx(t), 1, nil)
	wantAny(t, err)
	if _, ok := s.Counts("q"); ok {
		t.Error("the queue still has counts")
	}
}

func wantAny(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
}
