package servicebus

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/sim/servicebus/broker"
)

// endlessSpan is the largest time span of .NET, with which the admin API says "none".
const endlessSpan = "P10675199DT2H48M5.4775807S"

var isoDuration = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)

// parseDuration reads an ISO 8601 duration of days and smaller. One too long for a
// time.Duration is broker.Forever.
func parseDuration(s string) (time.Duration, error) {
	m := isoDuration.FindStringSubmatch(s)
	if m == nil || strings.HasSuffix(s, "P") || strings.HasSuffix(s, "T") {
		return 0, fmt.Errorf("%q is not an ISO 8601 duration", s)
	}
	total := 0.0
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.ParseFloat(m[i+1], 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not an ISO 8601 duration", s)
		}
		total += n * float64(unit)
	}
	if total >= math.MaxInt64 {
		return broker.Forever, nil
	}
	return time.Duration(math.Round(total)), nil
}

// formatDuration writes an ISO 8601 duration the way .NET does.
func formatDuration(d time.Duration) string {
	if d >= broker.Forever {
		return endlessSpan
	}
	var b strings.Builder
	b.WriteByte('P')
	if days := d / (24 * time.Hour); days > 0 {
		fmt.Fprintf(&b, "%dD", days)
	}
	d %= 24 * time.Hour
	if d == 0 && b.Len() > 1 {
		return b.String()
	}
	b.WriteByte('T')
	if h := d / time.Hour; h > 0 {
		fmt.Fprintf(&b, "%dH", h)
	}
	if m := d % time.Hour / time.Minute; m > 0 {
		fmt.Fprintf(&b, "%dM", m)
	}
	if s := d % time.Minute; s > 0 || d == 0 {
		b.WriteString(strconv.FormatFloat(s.Seconds(), 'f', -1, 64) + "S")
	}
	return b.String()
}
