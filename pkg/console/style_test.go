package console

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The pairs of colours that meet, and what WCAG 2.2 asks of them at level AA: 4.5 for
// text (1.4.3), 3 for what shows a control or a chart (1.4.11).
var pairs = []struct {
	front, back string
	least       float64
}{
	{"ink", "ground", 4.5}, {"ink", "surface", 4.5}, {"ink", "raised", 4.5}, {"ink", "tint", 4.5},
	{"quiet", "ground", 4.5}, {"quiet", "surface", 4.5}, {"quiet", "raised", 4.5}, {"quiet", "tint", 4.5},
	{"accent", "ground", 4.5}, {"accent", "surface", 4.5}, {"accent", "raised", 4.5}, {"accent", "tint", 4.5}, {"on-accent", "accent", 4.5},
	{"good", "good-tint", 4.5}, {"good", "surface", 4.5}, {"warn", "warn-tint", 4.5}, {"warn", "surface", 4.5},
	{"bad", "bad-tint", 4.5}, {"bad", "surface", 4.5},
	{"edge", "surface", 3}, {"edge", "ground", 3}, {"low", "surface", 3}, {"low", "raised", 3}, {"high", "surface", 3},
}

func TestContrast(t *testing.T) {
	text := pageText(t, "page/style.css")
	light, rest, ok := strings.Cut(text, "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("there is no dark scheme")
	}
	dark, _, _ := strings.Cut(rest, "\n}\n")
	for name, part := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(part, -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		for _, p := range pairs {
			front, ok := colours[p.front]
			back, too := colours[p.back]
			if !ok || !too {
				t.Errorf("%s: no colour %s or %s", name, p.front, p.back)
				continue
			}
			if ratio := (max(front, back) + 0.05) / (min(front, back) + 0.05); ratio < p.least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, needs %.1f", name, p.front, p.back, ratio, p.least)
			}
		}
	}
	if literal := regexp.MustCompile(`(?m)^[^-\n]*(color|background|fill|stroke): *#`).FindString(text); literal != "" {
		t.Errorf("a colour without name, which no scheme changes: %s", literal)
	}
}

// luminance is the relative luminance of WCAG 2.2.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

func TestNumbersForReaders(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567", -5000: "-5\u202f000", -500: "-500"} {
		if got := number(n); got != want {
			t.Errorf("%d is %q", n, got)
		}
	}
}
