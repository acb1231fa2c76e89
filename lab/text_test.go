package lab

import "testing"

// What takes a thousandth of a second is told as such, and not as nothing.
func TestSeconds(t *testing.T) {
	for s, want := range map[float64]string{0: "-", 0.0042: "4.2 ms", 0.32: "0.32 s", 9.5: "9.50 s", 173.2: "173 s"} {
		if got := seconds(s); got != want {
			t.Errorf("seconds(%v) = %q, want %q", s, got, want)
		}
	}
}
