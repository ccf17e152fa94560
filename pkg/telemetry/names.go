package telemetry

// The names of the metrics. Alarms and the dashboard in infra/ go by them, and a metric that
// nobody measures looks like peace; so the list is closed, and a test compares the two.
const (
	MetricDeliveries       = "Deliveries"
	MetricEvents           = "Events"
	MetricWaited           = "Waited"
	MetricAge              = "Age"
	MetricDuration         = "Duration"
	MetricDeadLetters      = "DeadLetters"
	MetricHolds            = "Holds"
	MetricPassDelivery     = "PassDelivery"
	MetricGraphCalls       = "GraphCalls"
	MetricNotifications    = "Notifications"
	MetricStreamSignals    = "StreamSignals"
	MetricFound            = "Found"
	MetricSubscriptionLeft = "SubscriptionLeft"
	MetricChangesGap       = "ChangesGap"
	MetricDropped          = "Dropped"
)

// Definition describes a metric.
type Definition struct {
	Name string
	Unit Unit
	// Dimensions are those that it is split by beside the function; one that is empty is
	// left out.
	Dimensions []string
	Meaning    string
}

// Definitions are all metrics, in the order in which an event meets them.
func Definitions() []Definition {
	return []Definition{
		{MetricDeliveries, Count, []string{"source", "outcome", "reason"}, "Events that came in, and deliveries that were refused: accepted, parked, rejected, unavailable, ignored, consented"},
		{MetricDropped, Count, []string{"source", "outcome"}, "Notifications that were not ours, by why"},
		{MetricStreamSignals, Count, []string{"source", "outcome"}, "What an event stream says of itself: stream-paused, stream-disabled, stream-verified, ..."},
		{MetricFound, Count, []string{"source"}, "Events that a poll found"},
		{MetricSubscriptionLeft, Seconds, []string{"source"}, "How long a subscription still lasts"},
		{MetricChangesGap, Seconds, []string{"source"}, "Time of which the directory no longer told the changes"},
		{MetricEvents, Count, []string{"queue", "type", "outcome"}, "Turns of events by how they ended: done, obsolete, planned, retry, held, behind, dead-lettered, duplicate, ..."},
		{MetricWaited, Seconds, []string{"queue", "source"}, "How long a message lay in its queue until it was taken"},
		{MetricAge, Seconds, []string{"queue", "type", "outcome"}, "Time from receipt to the end of a turn: how far a queue lags behind"},
		{MetricDuration, Milliseconds, []string{"queue", "type", "source", "outcome"}, "How long a turn or a notification took"},
		{MetricHolds, Count, []string{"queue", "reason"}, "Events that wait for an operator"},
		{MetricDeadLetters, Count, []string{"queue", "reason"}, "Messages that were given up"},
		{MetricPassDelivery, Seconds, []string{"source"}, "Time from asking for a pass to its delivery, by channel"},
		{MetricGraphCalls, Count, []string{"outcome"}, "Answers of Microsoft Graph, batch items included: 2xx, 3xx, 4xx, throttled, 5xx, none"},
		{MetricNotifications, Count, []string{"queue", "source", "outcome"}, "Flags told, by channel"},
	}
}
