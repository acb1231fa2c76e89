package pool_test

import (
	"math/rand/v2"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
)

func schedule(t *testing.T, text string) pool.Schedule {
	t.Helper()
	s, err := pool.ParseSchedule(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSizeByTimeOfDay(t *testing.T) {
	s := schedule(t, "Mon-Fri 08:00 size=30; 18:00 size=0; sat,sun 10:30 size=5")
	for moment, want := range map[string]int{
		"2026-11-25 07:59": 0, "2026-11-25 08:00": 30, "2026-11-25 17:59": 30, "2026-11-25 18:00": 0, // a Wednesday
		"2026-11-28 09:00": 0, "2026-11-28 10:30": 5, "2026-11-28 18:00": 0, "2026-11-30 08:00": 30,
	} {
		at, err := time.Parse("2006-01-02 15:04", moment)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Size(at, 7); got != want {
			t.Errorf("Size(%s) = %d, want %d", moment, got, want)
		}
	}
	if got := schedule(t, "").Size(time.Now(), 7); got != 7 {
		t.Errorf("Size without a schedule = %d, want the pool's own", got)
	}
	if got := schedule(t, "").Next(time.Now(), 7); got != nil {
		t.Errorf("Next without a schedule = %v", got)
	}
	if got := schedule(t, "Fri-Mon 08:00 size=1").Next(time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), 1); got != nil {
		t.Errorf("Next of a schedule that changes nothing = %v", got)
	}
}

// The clocks of Berlin go from 02:00 to 03:00 on 29 March 2026 and from 03:00 back to
// 02:00 on 25 October.
func TestClocksAreChanged(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	for _, test := range []struct{ schedule, from, at string }{
		{"02:30 size=9", "2026-03-29T00:00:00+01:00", "2026-03-29T03:00:00+02:00"}, // left out: when the clocks go forward
		{"02:00 size=9", "2026-03-29T00:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"03:00 size=9", "2026-03-29T00:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"08:00 size=9", "2026-03-28T13:00:00+01:00", "2026-03-29T08:00:00+02:00"},
		{"02:30 size=9", "2026-10-25T00:00:00+02:00", "2026-10-25T02:30:00+02:00"}, // twice: the first
		{"08:00 size=9", "2026-10-24T13:00:00+02:00", "2026-10-25T08:00:00+01:00"},
	} {
		from, _ := time.Parse(time.RFC3339, test.from)
		want, _ := time.Parse(time.RFC3339, test.at)
		got := schedule(t, test.schedule+"; 12:00 size=1").Next(from.In(berlin), 1)
		if got == nil || !got.At.Equal(want) {
			t.Errorf("%s after %s comes at %v, want %v", test.schedule, test.from, got, want.In(berlin))
		}
	}
	// What comes twice happens once: between the two 02:30 nothing changes.
	s := schedule(t, "02:30 size=9; 02:45 size=3")
	second, _ := time.Parse(time.RFC3339, "2026-10-25T02:31:00+01:00")
	if got := s.Size(second.In(berlin), 0); got != 3 {
		t.Errorf("in the second half past two the size is %d, want 3, as it was after the first", got)
	}
}

// Between one change and the next the size is the same, at any time, anywhere.
func TestSizeIsConstantBetweenChanges(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"} {
		loc := zone(t, name)
		s := schedule(t, "Mon-Fri 02:15 size=3; Sat-Sun 02:45 size=5; 08:00 size=30; Mon,Thu 18:00 size=0; Sun 01:30 size=2")
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, loc)
		for range 900 {
			next := s.Next(at, 1)
			if next == nil || !next.At.After(at) || next.At.Sub(at) > 8*24*time.Hour {
				t.Fatalf("%s: Next(%v) = %v", name, at, next)
			}
			size := s.Size(at, 1)
			between := at.Add(time.Duration(r.Int64N(int64(next.At.Sub(at)))))
			if got := s.Size(between, 1); got != size {
				t.Errorf("%s: the size is %d at %v and %d at %v, without a change", name, size, at, got, between)
			}
			if got := s.Size(next.At, 1); got != next.Size || got == size {
				t.Errorf("%s: Size(%v) = %d, want %d", name, next.At, got, next.Size)
			}
			at = next.At
		}
	}
}

func TestBadSchedules(t *testing.T) {
	for _, text := range []string{"08:00", "size=3", "24:00 size=1", "08:60 size=1", "Mo 08:00 size=1", "Mon- 08:00 size=1", "08:00 size=-1",
		"08:00 size=10001", "08:00 size=1; 08:00 size=2", "Mon-Wed 08:00 size=1; Tue 08:00 size=2", "08:00 size=1 18:00 size=0"} {
		if s, err := pool.ParseSchedule(text); clade.KindOf(err) != clade.Invalid {
			t.Errorf("ParseSchedule(%q) = %v, %v; want kind %q", text, s, err, clade.Invalid)
		}
	}
}
